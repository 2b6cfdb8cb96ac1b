/* What slow motion says: ten numbered tips, and what each is about. */
import type { Stage } from '../../engine/gan';

/** The parts of the drawing. */
export const componentIds = ['noise', 'generator', 'fake', 'real', 'discriminator', 'real-prediction', 'fake-prediction', 'd-loss', 'g-loss', 'd-gradients', 'g-gradients'] as const;
export type ComponentId = (typeof componentIds)[number];

export interface StageWords {
    number: number;
    net: 'd' | 'g';
    title: string;
    text: string;
    lit: readonly ComponentId[];
    /** The tip stands beneath it. */
    at: ComponentId;
}

const words: readonly [Stage, string, string, readonly ComponentId[], ComponentId][] = [
    ['d-samples', 'Generated samples', 'The generator bends a batch of noise into points. They are what the discriminator has to see through.', ['noise', 'generator', 'fake'], 'generator'],
    ['d-predictions', 'Predictions', 'The discriminator judges real and generated points alike: green is real, purple is fake.', ['real', 'fake', 'discriminator', 'real-prediction', 'fake-prediction'], 'discriminator'],
    ['d-loss', 'Loss', 'Its loss is large where it takes fakes for real, or real points for fakes.', ['d-loss'], 'd-loss'],
    ['d-gradients', 'Gradients', 'The gradient says how each of its weights would have to move for the loss to fall.', ['d-gradients'], 'd-gradients'],
    ['d-update', 'Update', 'The discriminator moves that way, k times on fresh batches. Its opinion of the plane changes.', ['discriminator'], 'discriminator'],
    ['g-samples', 'Generated samples', 'The generator’s turn. Its points are still the same, but they meet a better discriminator.', ['noise', 'generator', 'fake'], 'generator'],
    ['g-predictions', 'Predictions', 'The discriminator judges the generated points. Real ones play no part for the generator.', ['fake', 'discriminator', 'fake-prediction'], 'discriminator'],
    ['g-loss', 'Loss', 'The generator’s loss is small where its fakes pass for real.', ['g-loss'], 'g-loss'],
    ['g-gradients', 'Gradients', 'Arrows show where each fake would look more real to the discriminator: the slope of its opinion there.', ['g-gradients'], 'g-gradients'],
    ['g-update', 'Update', 'The generator moves its weights so that its points follow. Then it all begins again.', ['generator'], 'generator'],
];

export const stageWords: ReadonlyMap<Stage, StageWords> = new Map(
    words.map(([stage, title, text, lit, at], i) => [stage, { number: i + 1, net: stage.startsWith('d') ? 'd' : 'g', title, text, lit, at }]),
);
