/* Runs before the first paint, so that no page is ever seen in the wrong light. state/theme.ts does the rest. */
(function () {
    var chosen = null;
    try {
        chosen = localStorage.getItem('sightglass.theme');
    } catch (e) {
        /* storage is off: the system decides */
    }
    var dark = chosen === 'dark' || (chosen !== 'light' && matchMedia('(prefers-color-scheme: dark)').matches);
    document.documentElement.dataset.theme = dark ? 'dark' : 'light';
})();
