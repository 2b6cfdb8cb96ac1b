/* Keyboard shortcuts, in one list that the help (?) shows. A component adds its own while it is there:
 *
 *     $effect(() => keys.add({ keys: ['Space'], what: 'play or pause', where: 'Train ▸ net', run: toggle }));
 *
 * A name is a KeyboardEvent.key, with Ctrl+ (⌘ on a Mac), Alt+ and Shift+ before it. Plain keys do nothing while a text is
 * being typed, and Space and Enter stay with the control that has the focus. */
import { untrack } from 'svelte';

export interface Shortcut {
    keys: string[];
    what: string;
    where?: string;
    run: (e: KeyboardEvent) => void;
}

export const isMac = /Mac|iPhone|iPad/.test(navigator.platform);

class Keys {
    list: Shortcut[] = $state.raw([]);

    constructor() {
        addEventListener('keydown', (e) => this.press(e));
    }

    add(...shortcuts: Shortcut[]): () => void {
        /* Called in an effect, which must not run again because of what it adds. */
        this.list = [...untrack(() => this.list), ...shortcuts];
        return () => {
            this.list = untrack(() => this.list).filter((s) => !shortcuts.includes(s));
        };
    }

    private press(e: KeyboardEvent): void {
        if (e.defaultPrevented || e.isComposing) return;
        const name = nameOf(e),
            target = e.target instanceof HTMLElement && !e.target.closest('dialog:not([open])') ? e.target : null; /* one that has just closed may still have the focus */
        const plain = !e.ctrlKey && !e.metaKey && !e.altKey;
        if (plain && typing(target)) return;
        if (/^(Shift\+)?(Space|Enter|Arrow\w+)$/.test(name) && operated(target)) return;
        if (name !== 'Escape' && document.querySelector('dialog[open]')) return;
        /* What was added last is nearest to the reader. */
        const shortcut = this.list.filter((s) => s.keys.includes(name)).at(-1);
        if (!shortcut) return;
        e.preventDefault();
        shortcut.run(e);
    }
}

function nameOf(e: KeyboardEvent): string {
    const key = e.key === ' ' ? 'Space' : e.key.length === 1 && (e.ctrlKey || e.metaKey || e.altKey) ? e.key.toLowerCase() : e.key;
    const shift = e.shiftKey && (key.length > 1 || e.ctrlKey || e.metaKey);
    return `${e.ctrlKey || e.metaKey ? 'Ctrl+' : ''}${e.altKey ? 'Alt+' : ''}${shift ? 'Shift+' : ''}${key}`;
}

function typing(e: HTMLElement | null): boolean {
    if (!e) return false;
    if (e instanceof HTMLInputElement) return !/^(button|checkbox|radio|range|submit|reset|color|file)$/.test(e.type);
    return e instanceof HTMLTextAreaElement || e instanceof HTMLSelectElement || e.isContentEditable;
}

function operated(e: HTMLElement | null): boolean {
    return !!e?.closest('button, a[href], input, select, textarea, summary, [role="slider"], [role="grid"], [role="separator"], [data-keys]');
}

export const keys = new Keys();
