/* Light or dark: by the system, or by choice. public/theme.js has already set it before the first paint. */
export type Choice = 'system' | 'light' | 'dark';

const KEY = 'sightglass.theme';
const system = matchMedia('(prefers-color-scheme: dark)');

class Theme {
    choice: Choice = $state(stored());
    private systemDark = $state(system.matches);
    readonly dark: boolean = $derived(this.choice === 'dark' || (this.choice === 'system' && this.systemDark));

    constructor() {
        system.addEventListener('change', (e) => {
            this.systemDark = e.matches;
            this.apply();
        });
    }

    choose(choice: Choice): void {
        this.choice = choice;
        try {
            if (choice === 'system') localStorage.removeItem(KEY);
            else localStorage.setItem(KEY, choice);
        } catch {
            /* storage is off: it holds until the page is closed */
        }
        this.apply();
    }

    private apply(): void {
        document.documentElement.dataset['theme'] = this.dark ? 'dark' : 'light';
    }
}

function stored(): Choice {
    try {
        const choice = localStorage.getItem(KEY);
        return choice === 'light' || choice === 'dark' ? choice : 'system';
    } catch {
        return 'system';
    }
}

export const theme = new Theme();
