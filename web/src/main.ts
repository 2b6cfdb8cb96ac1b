import './theme.css';
import { mount } from 'svelte';
import App from './App.svelte';
import { lookForServer } from './api';

const target = document.getElementById('app');
if (target) mount(App, { target });
void lookForServer();
