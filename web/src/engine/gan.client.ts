/* The GAN from the page's side: a worker, and one promise an answer. */
import { engineModule } from './module';
import { EngineError } from './wasm';
import type { Answer, Replies, Request } from './gan.worker';
import GanWorker from './gan.worker?worker&inline';

export class GanClient {
    private readonly worker = new GanWorker();
    private readonly waiting = new Map<number, { resolve: (value: never) => void; reject: (e: Error) => void }>();
    private next = 0;
    private readonly ready: Promise<unknown>;

    constructor() {
        this.worker.onmessage = (e: MessageEvent<Answer>) => {
            const answer = e.data;
            const wait = this.waiting.get(answer.id);
            this.waiting.delete(answer.id);
            if (answer.ok) wait?.resolve(answer.value as never);
            else wait?.reject(new EngineError(answer.text, answer.status));
        };
        this.worker.onerror = (e) => {
            for (const wait of this.waiting.values()) wait.reject(new EngineError(e.message || 'the worker stopped', -1));
            this.waiting.clear();
        };
        this.ready = engineModule().then((source) => this.send({ what: 'load', source }));
        this.ready.catch(() => {}); /* whoever asks first hears of it */
    }

    async ask<W extends keyof Replies>(request: Request & { what: W }): Promise<Replies[W]> {
        await this.ready;
        return this.send(request) as Promise<Replies[W]>;
    }

    private send(request: Request): Promise<unknown> {
        return new Promise((resolve, reject) => {
            const id = this.next++;
            this.waiting.set(id, { resolve, reject });
            this.worker.postMessage({ id, request });
        });
    }

    close(): void {
        this.worker.terminate();
    }
}
