/* The five-minute tour: steps through the real places. shell/Tour.svelte shows them. */
import { address } from '../address';
import { presence } from './presence.svelte';

export interface TourStep {
    /** Where it happens; absent: wherever one is. */
    hash?: string;
    /** What it points at, a CSS selector; the first that is in sight. Absent: nothing. */
    at?: string;
    title: string;
    text: string;
    server?: boolean;
}

const steps: TourStep[] = [
    {
        hash: '#/lab',
        title: 'One page, one sentence',
        text: 'Every screen here reads the same: an object, its state inside, a push, what the push did, and a check. Nothing leaves your machine. Leave this tour whenever you like with Escape.',
    },
    { hash: '#/train/net', at: '#place .play', title: 'Something to train', text: 'A whole network: every unit a picture of what it sees, every line a weight. Press play, here or with the space bar, and watch it learn to tell orange from blue.' },
    { at: '#place .badge', title: 'Where a number comes from', text: 'Every number says where it was computed. This one was computed in this page, by the same C code that the command runs, as WebAssembly. Point at it, and the Why drawer has the rest.' },
    { at: '#place select', title: 'Push on it', text: 'Change anything while it runs. Amber is what you changed and what is not computed yet; blue is computed; grey is no longer true.' },
    { at: '[data-test="copy-link"]', title: 'Keep it', text: 'The address holds all of it. Copy the link, and whoever opens it sees what you see. Old links of the public Playground open here, too.' },
    { hash: '#/train/gan', at: '#place .play', title: 'A forger and a detective', text: 'Two networks: one draws points, the other tells them from real ones. Each makes the other better. Slow it down, or take one step at a time.' },
    { hash: '#/inspect/board', at: '#place [role="grid"], #place table, #place .board', server: true, title: 'A board that nobody showed', text: 'This model has read only moves of Othello, and holds the board all the same. Click on a square to turn its disc over in the model’s mind: its next move follows.' },
    { hash: '#/inspect/model', at: '#place textarea, #place input', server: true, title: 'Any value, by its name', text: 'Any text, any layer, any head: read it, change it, and see the change in what comes next, beside the unedited run.' },
    { hash: '#/lab?card=othello-world', at: '#place .button.primary', title: 'Check it', text: 'A claim is worth its control. Every system here has a study that asks its paper’s question again, with what must come out and what must not. This button runs it on your machine.' },
    { at: 'footer', title: 'Four drawers', text: 'Below: the table of what is selected, what runs, your notes with the view that each is about, and why a number is what it is. The question mark above lists all keys. That was the tour.' },
];

class Tour {
    private at: number | null = $state(null);
    /** The steps that can be taken here: without a server those in the page alone. */
    readonly steps: TourStep[] = $derived(steps.filter((s) => !s.server || presence.here));
    readonly step: TourStep | null = $derived(this.at === null ? null : (this.steps[this.at] ?? null));
    readonly index: number = $derived(this.at ?? 0);

    begin(): void {
        this.to(0);
    }
    next(): void {
        if (this.at === null) return;
        if (this.at + 1 < this.steps.length) this.to(this.at + 1);
        else this.leave();
    }
    back(): void {
        if (this.at !== null && this.at > 0) this.to(this.at - 1);
    }
    leave(): void {
        this.at = null;
    }
    private to(i: number): void {
        this.at = i;
        /* Going back, too, comes to the place in which the step happens. */
        const hash = this.steps
            .slice(0, i + 1)
            .filter((s) => s.hash)
            .at(-1)?.hash;
        if (hash && (hash.split('?')[0] !== `#${address.route}` || this.steps[i].hash?.includes('?'))) address.open(hash);
    }
}

export const tour = new Tour();
