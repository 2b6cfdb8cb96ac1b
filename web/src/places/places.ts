/* The places of the page, one line each. A place is a folder here, whose component is loaded when it is first opened. */
import type { Component } from 'svelte';

export interface Screen {
    name: string;
    title: string;
    /** What will be here, for screens that have no place yet. */
    coming?: string;
}

export interface Place {
    route: string;
    screen: string;
    title: string;
    what: string;
    /** Nothing works here without the server. */
    server?: boolean;
    load: () => Promise<{ default: Component }>;
}

export const screens: Screen[] = [
    { name: 'lab', title: 'Lab' },
    { name: 'train', title: 'Train' },
    { name: 'examine', title: 'Examine' },
    { name: 'map', title: 'Map', coming: 'spaces, attention, words, trees, time, stories' },
    { name: 'inspect', title: 'Inspect' },
    { name: 'converse', title: 'Converse', coming: 'chats with gauges and pins' },
    { name: 'flows', title: 'Flows', coming: 'prompts, models and evaluators on a canvas' },
];

// prettier-ignore
export const places: Place[] = [
    { route: '/lab', screen: 'lab', title: 'Lab', what: 'Every system that works today: its claim, its study, its numbers', load: () => import('./lab/Lab.svelte') },
    { route: '/train/net', screen: 'train', title: 'Net', what: 'A small network, trained in front of you (TensorFlow Playground)', load: () => import('./net/Net.svelte') },
    { route: '/train/gan', screen: 'train', title: 'GAN', what: 'A generator and a discriminator, step by step (GAN Lab)', load: () => import('./gan/Gan.svelte') },
    { route: '/examine/methods', screen: 'examine', title: 'Methods', what: 'Any method on any model: probes, steering, dictionaries, saliency, geometry, each number beside its control', server: true, load: () => import('./methods/Methods.svelte') },
    { route: '/inspect/model', screen: 'inspect', title: 'Model', what: 'Any value inside a transformer, read and changed', server: true, load: () => import('./model/Model.svelte') },
    { route: '/inspect/net', screen: 'inspect', title: 'Net', what: 'The net of Train ▸ net as a graph: any value, any gradient, one unit changed', load: () => import('./netlook/NetLook.svelte') },
    { route: '/inspect/board', screen: 'inspect', title: 'Board', what: 'The board in the mind of a model of Othello', server: true, load: () => import('./board/Board.svelte') },
];

export function placeAt(route: string): Place | undefined {
    return places.find((p) => p.route === route) ?? places.find((p) => p.screen === route.slice(1));
}
