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
        id: 'adversarial-spheres',
        title: 'An error near every point',
        paper: 'Adversarial Spheres, Gilmer et al., 2018',
        what: 'Tell an inner sphere from an outer one in many dimensions. A net errs on a tiny share of points, and yet every point has an error near by: geometry leaves no other way.',
        place: { hash: '#/examine/methods?method=attack', text: 'Move inputs until a model errs' },
        study: 'adversarial-spheres',
        differs: 'Dimensions 50 to 200 and a net whose errors are known exactly, in the place of 500 dimensions and ten million samples. Nothing here is said about pictures.',
    },
    {
        id: 'smoothgrad',
        title: 'Noise against noise',
        paper: 'SmoothGrad, Smilkov et al., 2017',
        what: 'The gradient of a class by the pixels, averaged over noisy copies: a map of where a network looks, beside maps of networks that know nothing.',
        place: { hash: '#/examine/methods?method=attribute+map', text: 'Draw a map' },
        study: 'smoothgrad',
        differs: 'Drawn shapes whose place is known, so that a map can be right or wrong, not only clear.',
    },
    {
        id: 'tcav',
        title: 'Does it use stripes when it says zebra?',
        paper: 'Testing with Concept Activation Vectors, Kim et al., 2018',
        what: 'Show a concept by examples, and ask for which share of a class moving towards it raises the score, with a test against random sets of examples.',
        place: { hash: '#/examine/methods?method=tcav', text: 'Test a concept' },
        study: 'tcav',
        differs: 'The paper’s experiment with captions on shapes drawn here. As published, with one set of examples for all repeats, random concepts pass the test far too often; ours takes examples anew.',
    },
    {
        id: 'archetypal-sae',
        title: 'The same dictionary twice',
        paper: 'Archetypal SAE, Fel et al., 2025',
        what: 'Train a sparse dictionary twice and it has other atoms. Tied to the hull of the data, atoms come back.',
        place: { hash: '#/examine/methods?method=dictionary+fit', text: 'Fit a dictionary' },
        study: 'archetypal-sae',
        differs: 'Mixtures of known archetypes, in the place of DINOv2 on ImageNet.',
    },
    {
        id: 'rabbit-hull',
        title: 'Sums of mixtures',
        paper: 'Into the Rabbit Hull, Fel et al., 2025',
        what: 'Attention adds one mixture of values for each head, so that what it writes fills a sum of polytopes. That can be tested, and told from a sparse sum of directions.',
        place: { hash: '#/examine/methods?method=minkowski', text: 'Rebuild attention from its mixtures' },
        study: 'rabbit-hull',
        differs: 'Models of Othello and of stories, and a world of known polytopes, in the place of DINOv2.',
    },
    {
        id: 'qk-contrastive',
        title: 'Why did this head look there?',
        paper: 'Decomposing query–key interactions, Lee, Belinkov, Viégas, Wattenberg, 2026',
        what: 'Compare how queries meet keys when a feature matches and when it does not: the difference is a subspace, and swapping it moves the attention.',
        place: { hash: '#/examine/methods?method=qk', text: 'Take a head apart' },
        study: 'qk-contrastive',
        differs: 'A head trained on a task whose latents are known, in the place of Llama-3.1-8B and Qwen3-4B.',
    },
    {
        id: 'linear-relations',
        title: 'A fact as one linear map',
        paper: 'Linearity of Relation Decoding, Hernandez et al., 2023',
        what: 'How a model gets from a subject to its object is, for some relations, close to one affine map: the model’s own derivative, averaged over a few prompts.',
        place: { hash: '#/examine/methods?method=lre+fit', text: 'Fit a relation' },
        study: 'linear-relations',
        differs: 'A knowledge base of 400 made-up entities and a model of a million parameters, in the place of GPT-J.',
    },
    {
        id: 'shared-geometry',
        title: 'The same tokens, arranged alike',
        paper: 'Shared Geometry of Language-Model Embeddings, Lee et al., 2025',
        what: 'Models of one text put the same tokens near each other, so that a direction found in one can steer another.',
        place: { hash: '#/examine/methods?method=embeddings+compare', text: 'Compare two models' },
        study: 'shared-geometry',
        differs: 'Six tiny models of Shakespeare, in the place of GPT-2, Llama and Gemma.',
    },
    {
        id: 'gestalt-closure',
        title: 'A triangle that is not there',
        paper: 'Neural Networks Exhibit Gestalt Closure, Kim et al., 2019',
        what: 'People see a triangle where only its corners are drawn. Is a network’s response to the corners nearer to that to the whole when they are aligned?',
        place: { hash: '#/examine/methods?method=closure', text: 'Ask a network' },
        study: 'gestalt-closure',
        differs: 'Networks of drawn shapes, and MobileNetV2 and ResNet-20 where their weights are at hand; the paper’s network was another one.',
    },
    {
        id: 'inference-time-intervention',
        title: 'Pushing a few heads towards the truth',
        paper: 'Inference-Time Intervention, Li, Patel et al., 2023',
        what: 'Some heads carry a direction along which true and false answers part. Push them a fixed distance while the model writes, and see what it costs.',
        place: { hash: '#/examine/methods?method=steer+sweep', text: 'Sweep a strength' },
        study: 'inference-time-intervention',
        differs: 'A small model that learnt true answers and myths in two registers, in the place of chat models of 7 billion parameters.',
    },
    {
        id: 'q-probe',
        title: 'Picking among its own answers',
        paper: 'Q-Probe, Li et al., 2024',
        what: 'Sample some completions, score each by a small function of the hidden state, and pick one: as their number grows this earns what an optimal policy would.',
        place: { hash: '#/examine/methods?method=qprobe+fit', text: 'Fit a probe' },
        study: 'q-probe',
        differs: 'Completions that a program can check, of a tiny model, in the place of code.',
    },
    {
        id: 'relational-composition',
        title: 'What goes with what',
        paper: 'Relational Composition in Neural Networks, Wattenberg, Viégas, 2024',
        what: 'Ways in which a vector may hold which feature goes with which role, and how each misleads a dictionary: one feature is found twice.',
        place: { hash: '#/examine/methods?method=echo', text: 'Look for echoes' },
        study: 'relational-composition',
        differs: 'The survey has no experiments; these are ours.',
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
