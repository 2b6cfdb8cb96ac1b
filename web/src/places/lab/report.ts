/* A study's report, as `sightglass study run --json` writes it and as a job of kind "study" gives it. */
export interface Measured {
    text?: string;
    value: number | null;
    interval?: [number, number] | null;
    criterion: string;
    holds: boolean;
}
export interface Claim extends Measured {
    id: string;
    text: string;
    source: string;
    paper_value: { value: number; standing: string } | null;
    seeds?: number[];
    control: Measured & { text: string };
}
export interface Report {
    study: string;
    question: string;
    setup: string;
    budget: 'small' | 'full';
    commit: string;
    seed: number;
    backend: string;
    threads: number;
    cpu: string;
    seconds: number;
    claims: Claim[];
}

export const holding = (r: Report): number => r.claims.filter((c) => c.holds && c.control.holds).length;
