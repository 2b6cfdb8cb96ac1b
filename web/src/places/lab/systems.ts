/* What works today, one entry each: where it comes from, what it says, where it can be touched, how it can be checked. */
import type { CheckName } from './checks';

export interface System {
    id: string;
    title: string;
    /** Who and when; "" where it is no paper's. */
    paper: string;
    what: string;
    /** The place in which it can be touched, and what one does there. */
    place?: { hash: string; text: string };
    /** The study that asks its question again. */
    study?: string;
    /** A check that the page runs by itself. */
    check?: CheckName;
    /** Where we differ, and why. */
    differs: string;
}

export const systems: System[] = [
    {
        id: 'othello-world',
        title: 'A board that nobody showed',
        paper: 'Emergent World Representations, Li et al., 2022',
        what: 'A model that reads only lists of Othello moves comes to hold the board, and plays by the board that it holds: change it there, and the moves follow.',
        place: { hash: '#/inspect/board', text: 'Turn a disc over in its mind' },
        study: 'othello-world',
        differs: 'Our model has 8 layers of width 256, the paper’s of width 512; it was trained by this project on 7.4 million games drawn move by move.',
    },
    {
        id: 'othello-linear',
        title: 'Mine and yours',
        paper: 'Emergent Linear Representations, Nanda, Lee, Wattenberg, 2023',
        what: 'The board is in the model as mine, yours and empty, seen by who is to move; asked that way, a linear probe reads it.',
        place: { hash: '#/inspect/board', text: 'See what the probes read, layer by layer' },
        study: 'othello-linear',
        differs: 'Ridge and softmax probes on our own model. Criteria marked as a pilot’s were set on a 6 × 6 board before this was run.',
    },
    {
        id: 'othello-tpr',
        title: 'Squares times colours',
        paper: 'Tensor product representation probes, Lee, Viégas, Wattenberg, 2026',
        what: 'Are the directions that read the board products of parts: one for each square, one for each colour, and a map that binds them?',
        study: 'othello-tpr',
        differs: 'Expectations for a 6 × 6 board, asked of our 8 × 8 model. Some did not come true; they stand here as they came out.',
    },
    {
        id: 'world-model-criteria',
        title: 'When does a network have a world model?',
        paper: 'What does it mean for a neural network to learn a world model?, Li, Viégas, Wattenberg, 2025',
        what: 'A state counts as held only if it is readable, used, and neither in the input, nor in the output, nor in an untrained network.',
        study: 'world-model-criteria',
        differs: 'The threshold of .05 is this project’s choice; the paper names criteria, not numbers.',
    },
    {
        id: 'toy-superposition',
        title: 'More features than dimensions',
        paper: 'Toy Models of Superposition, Elhage et al., 2022',
        what: 'Sparse features share dimensions, in regular shapes, with sharp changes between them.',
        study: 'toy-superposition',
        differs: 'The same models, trained here from other random numbers; claims named pilot ask for one seed’s numbers exactly.',
    },
    {
        id: 'playground',
        title: 'A neural network to play with',
        paper: 'Direct-Manipulation Visualization of Deep Networks, Smilkov et al., 2017',
        what: 'A small network shown whole, every unit a picture and every weight a line, trained while you change it.',
        place: { hash: '#/train/net', text: 'Grow a neural net' },
        check: 'playground',
        differs: 'The same program, written again in C, and run in this page as WebAssembly. How near its losses come to the original’s is what the check measures.',
    },
    {
        id: 'gan-lab',
        title: 'A forger and a detective',
        paper: 'GAN Lab, Kahng et al., 2018',
        what: 'A generator learns to draw points that a discriminator cannot tell from real ones, step by step and as slowly as you like.',
        place: { hash: '#/train/gan', text: 'Watch them learn' },
        check: 'gan',
        differs: 'The same networks and losses, written again in C, and run in this page as WebAssembly.',
    },
    {
        id: 'glass',
        title: 'The glass itself',
        paper: '',
        what: 'Any value inside a transformer has a name. Read it, put another in its place, splice a function into it, differentiate by it, beside the unedited run.',
        place: { hash: '#/inspect/model', text: 'Look into a model' },
        check: 'glass',
        differs: '',
    },
];

/** The tiles of the first five minutes. Those that have no place yet say so. */
export interface Tile {
    title: string;
    what: string;
    hash?: string;
    icon: 'net' | 'gan' | 'board' | 'heads';
    check?: string; /* a system whose check it is */
    server?: boolean;
}
export const tiles: Tile[] = [
    { title: 'Grow a neural net', what: 'Press play. It learns to tell orange from blue.', hash: '#/train/net', icon: 'net', check: 'playground' },
    { title: 'Watch a forger and a detective', what: 'Two networks against each other, in slow motion.', hash: '#/train/gan', icon: 'gan', check: 'gan-lab' },
    { title: 'Turn one disc over in a mind', what: 'Change the board that a model imagines, and see it change its next move.', hash: '#/inspect/board', icon: 'board', check: 'othello-world', server: true },
    { title: 'Look through every attention head', what: 'What each head of a transformer looks at, on your own text.', hash: '#/inspect/model', icon: 'heads', check: 'glass', server: true },
];
export const coming = ['what would change this decision?', 'does the chatbot think you are old?', 'try one prompt ten ways', 'draw a novel as ribbons', 'evolve a better program'];
