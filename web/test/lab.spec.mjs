/* Lab, and the shell around every place. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkPlace, withPage } from './place.mjs';

const ready = (page) => page.getByRole('heading', { name: 'Lab', level: 1 }).waitFor();

checkPlace({ route: '/lab', title: 'Lab', ready, reach: ['Lab', 'Train', 'Inspect', 'Data', 'Jobs', 'Notes', 'Why'] });


