/* Words of the place: labels of the original's choices, and the texts of its tutorials. */
import type { InputName } from '../../engine/net';

export const inputTitles: Record<InputName, string> = {
    x: 'X₁',
    y: 'X₂',
    xSquared: 'X₁²',
    ySquared: 'X₂²',
    xTimesY: 'X₁X₂',
    sinX: 'sin(X₁)',
    sinY: 'sin(X₂)',
};

/** What an input is, for its picture while it is off. */
export const inputFunctions: Record<InputName, (x: number, y: number) => number> = {
    x: (x) => x,
    y: (_, y) => y,
    xSquared: (x) => x * x,
    ySquared: (_, y) => y * y,
    xTimesY: (x, y) => x * y,
    sinX: (x) => Math.sin(x),
    sinY: (_, y) => Math.sin(y),
};

export const datasetTitles: Record<string, string> = {
    circle: 'Circle',
    xor: 'Exclusive or',
    gauss: 'Gaussian',
    spiral: 'Spiral',
    'reg-plane': 'Plane',
    'reg-gauss': 'Multi gaussian',
};

export const learningRates = [0.00001, 0.0001, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10];
export const penaltyRates = [0, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10];

/** What an address can hide, by the names that stand in it. */
export const hidable = {
    showTestData: 'Show test data',
    discretize: 'Discretise output',
    playButton: 'Play button',
    stepButton: 'Step button',
    resetButton: 'Reset button',
    learningRate: 'Learning rate',
    activation: 'Activation',
    regularization: 'Regularisation',
    regularizationRate: 'Regularisation rate',
    problem: 'Problem type',
    dataset: 'Which data set',
    percTrainData: 'Ratio of training data',
    noise: 'Noise level',
    batchSize: 'Batch size',
    numHiddenLayers: 'Number of layers',
} as const;
export type Hidable = keyof typeof hidable;

export interface Tutorial {
    title: string;
    text: string[];
    /** States to try, by what they show. */
    links: { title: string; address: string }[];
}

export const tutorials: Record<string, Tutorial> = {
    line: {
        title: 'What one neuron can do',
        text: [
            'A neuron adds up its inputs, each times a weight, and bends the sum. So on its own it can only split the plane along one straight line. Two clouds of points are no more than that: press play and watch the line turn.',
            'A circle is beyond it, however long it learns. Open the second link and see the loss get stuck.',
        ],
        links: [
            { title: 'Two clouds, one neuron', address: 'dataset=gauss&networkShape=1&seed=0.12345' },
            { title: 'A circle, one neuron', address: 'dataset=circle&networkShape=1&seed=0.12345' },
        ],
    },
    layers: {
        title: 'Why hidden layers',
        text: [
            'Three lines make a triangle: give the hidden layer three neurons, and the next one can ask for “inside all three”. Point at the small pictures to see each line by itself.',
            'A spiral needs more of them, or better inputs. Compare how long both take.',
        ],
        links: [
            { title: 'A circle, three neurons', address: 'dataset=circle&networkShape=3&seed=0.12345' },
            { title: 'A spiral, two layers of eight', address: 'dataset=spiral&networkShape=8,8&activation=relu&learningRate=0.01&seed=0.12345' },
        ],
    },
    overfitting: {
        title: 'Learning by heart',
        text: [
            'With few noisy points and a large net, the loss on the points it learns from falls on while that on the others rises: the net learns the noise. The two lines of the chart part.',
            'Regularisation holds weights small. L1 even takes links out of the net for good.',
        ],
        links: [
            { title: 'Noise learnt by heart', address: 'dataset=gauss&noise=50&percTrainData=10&networkShape=8,8&learningRate=0.1&seed=0.12345' },
            {
                title: 'The same with L1',
                address: 'dataset=gauss&noise=50&percTrainData=10&networkShape=8,8&learningRate=0.1&regularization=L1&regularizationRate=0.01&seed=0.12345',
            },
        ],
    },
};
