/* Margin notes: a text, and the link to the view that it is about. They stay in this browser. */
export interface Note {
    id: string;
    text: string;
    link: string; /* "#/inspect/model?..." */
    title: string; /* the place's */
    when: number;
}

const KEY = 'sightglass.notes';

function stored(): Note[] {
    try {
        const list = JSON.parse(localStorage.getItem(KEY) ?? '[]') as unknown;
        if (!Array.isArray(list)) return [];
        return (list as Note[]).filter((n) => typeof n?.text === 'string' && typeof n.link === 'string' && n.link.startsWith('#') && typeof n.id === 'string');
    } catch {
        return [];
    }
}

class Notes {
    list: Note[] = $state.raw(stored());

    add(text: string, link: string, title: string): void {
        this.keep([{ id: `${Date.now().toString(36)}-${Math.floor(Math.random() * 1e6).toString(36)}`, text, link, title, when: Date.now() }, ...this.list]);
    }
    change(id: string, text: string): void {
        this.keep(this.list.map((n) => (n.id === id ? { ...n, text } : n)));
    }
    remove(id: string): Note | undefined {
        const note = this.list.find((n) => n.id === id);
        this.keep(this.list.filter((n) => n.id !== id));
        return note;
    }
    restore(note: Note): void {
        this.keep([...this.list, note].sort((a, b) => b.when - a.when));
    }
    private keep(list: Note[]): void {
        this.list = list;
        try {
            localStorage.setItem(KEY, JSON.stringify(list));
        } catch {
            /* storage is off or full: they stay until the page is closed */
        }
    }
}

export const notes = new Notes();
