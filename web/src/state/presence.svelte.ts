/* Whether a server is behind this page. */
export type Presence = 'unknown' | 'here' | 'absent' | 'locked' | 'lost';

class ServerPresence {
    state: Presence = $state(__SITE__ ? 'absent' : 'unknown');
    version = $state('');

    readonly here: boolean = $derived(this.state === 'here');
    /** For people. */
    readonly text: string = $derived(
        {
            unknown: 'looking for the server',
            here: `server${this.version ? ` ${this.version}` : ''}`,
            absent: 'server features off',
            locked: 'the server does not know this page',
            lost: 'the server does not answer',
        }[this.state],
    );
    readonly hint: string = $derived(
        {
            unknown: '',
            here: 'Models, studies and jobs run in the program that serves this page.',
            absent: 'This page was opened without its server. What the page computes itself works; models and studies need: sightglass serve',
            locked: 'Open the whole address that sightglass serve printed, with its token.',
            lost: 'sightglass serve was stopped or cannot be reached. What the page computes itself still works.',
        }[this.state],
    );

    seen(status: number): void {
        this.state = status === 401 ? 'locked' : 'here';
    }
    lost(): void {
        this.state = this.state === 'unknown' ? 'absent' : 'lost';
    }
}

export const presence = new ServerPresence();
