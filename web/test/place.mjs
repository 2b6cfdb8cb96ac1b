/* What the tests of the page share: a server on shipped models, a browser, and what every place has to pass.
 *
 *     import { checkPlace, withPage } from './place.mjs';
 *
 *     checkPlace({
 *         route: '/train/net',
 *         ready: (page) => page.getByRole('button', { name: 'Play' }).waitFor(),     // the place can be used
 *         gesture: async (page) => { ... },                                            // its core gesture, with its own checks
 *         state: (page) => page.evaluate(() => ...),    // what a copied link must bring back; absent: the link alone
 *         reach: ['Play', 'Learning rate'],              // names of controls that Tab must reach
 *     });
 *     test('something else', withPage('/train/net', async (page, { base }) => { ... }));
 *
 * Tests wait for states, never for times, and nothing is tried twice. What a page says on its console as an error, a request to
 * another machine and a violation of the Content-Security-Policy fail the test in which they happen. */
import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { extname, join, normalize } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { chromium } from 'playwright-core';
import { PATIENCE, build, root, serve } from './server.mjs';

export { PATIENCE, build, models, root, serve } from './server.mjs';

const require = createRequire(import.meta.url);

export const shots = join(build, 'screenshots');
const BROWSERS = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'];

const TYPES = { '.html': 'text/html', '.js': 'text/javascript', '.css': 'text/css', '.svg': 'image/svg+xml', '.json': 'application/json', '.wasm': 'application/wasm' };

/** A server of files and nothing else, as anybody's web space is. */
export async function files(folder) {
    const server = createServer((request, response) => {
        const asked = normalize(decodeURIComponent(new URL(request.url, 'http://x').pathname));
        const file = join(folder, asked.endsWith('/') ? `${asked}index.html` : asked);
        if (!file.startsWith(folder) || !existsSync(file) || !statSync(file).isFile()) {
            response.writeHead(404).end();
            return;
        }
        response.writeHead(200, { 'Content-Type': TYPES[extname(file)] ?? 'application/octet-stream' }).end(readFileSync(file));
    });
    await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
    const base = `http://127.0.0.1:${server.address().port}/`;
    const stop = () =>
        new Promise((resolve) => {
            server.close(resolve);
            server.closeAllConnections();
        });
    return { url: base, base, stop };
}

export function fileUrl(folder) {
    return { url: pathToFileURL(join(folder, 'index.html')).href, base: pathToFileURL(join(folder, 'index.html')).href, stop: async () => {} };
}

/** Without a GPU: one in software takes longer over a picture than drawing without any. `more`: further arguments, which come last. */
export async function openBrowser(more = []) {
    const executablePath = process.env.CHROMIUM ?? BROWSERS.find((b) => existsSync(b));
    if (!executablePath) throw new Error('no Chromium found; scripts/install-deps test installs it');
    return chromium.launch({
        executablePath,
        headless: true,
        timeout: PATIENCE,
        args: [
            '--no-sandbox',
            '--disable-dev-shm-usage',
            '--disable-gpu',
            '--enable-unsafe-swiftshader',
            /* Whatever asks for another machine finds none. */
            '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost',
            '--disable-background-networking',
            '--disable-component-update',
            '--no-first-run',
            ...more,
        ],
    });
}

/** A page that writes down what it does wrong: page.wrongs(). */
export async function newPage(browser, site, options = {}) {
    const context = options.context ?? (await browser.newContext({ viewport: { width: 1280, height: 800 }, reducedMotion: 'no-preference', ...options }));
    context.setDefaultTimeout(PATIENCE);
    context.setDefaultNavigationTimeout(PATIENCE);
    const page = await context.newPage();
    const wrongs = [];
    const home = new URL(site.url);
    page.on('console', (m) => m.type() === 'error' && wrongs.push(`console: ${m.text()} (${m.location().url})`));
    page.on('pageerror', (e) => wrongs.push(`page error: ${e.stack ?? e.message}`));
    page.on('crash', () => wrongs.push('the page crashed'));
    page.on('request', (r) => {
        const url = new URL(r.url());
        if (!['data:', 'blob:'].includes(url.protocol) && url.origin !== home.origin && !(home.protocol === 'file:' && url.protocol === 'file:'))
            wrongs.push(`request to another machine: ${r.url()}`);
    });
    page.wrongs = () => wrongs.splice(0);
    return page;
}

/** Opens a route ("/train/net", or "activation=relu&..." as the public Playground's links have it), signed in. */
export async function open(page, site, route) {
    const url = new URL(site.url);
    url.hash = route;
    await page.goto(url.href);
}

const file = (route) => route.replace(/^\//, '').replace(/[^\w]+/g, '-') || 'page';

/** Nothing sticks out sideways, neither from the page nor from the place. */
export async function fits(page) {
    const wide = await page.evaluate(() => {
        const room = document.documentElement.clientWidth;
        const boxes = [document.documentElement, document.getElementById('place')];
        if (boxes.every((b) => b.scrollWidth <= b.clientWidth)) return [];
        const scrolls = (e) => /(auto|scroll|hidden|clip)/.test(getComputedStyle(e).overflowX) && e.id !== 'place';
        return [...document.querySelectorAll('#place *')]
            .filter((e) => e.getBoundingClientRect().right > room + 0.5)
            .filter((e) => {
                for (let p = e.parentElement; p && p.id !== 'place'; p = p.parentElement) if (scrolls(p)) return false;
                return true;
            })
            .slice(0, 6)
            .map((e) => `${e.tagName.toLowerCase()}.${e.getAttribute('class') ?? ''} reaches ${Math.round(e.getBoundingClientRect().right)} of ${room}`)
            .concat(`scrollWidth ${boxes.map((b) => `${b.scrollWidth}/${b.clientWidth}`).join(' ')}`);
    });
    assert.deepEqual(wide, [], 'something is wider than the window');
}

/** axe's rules on names, roles, order and contrast. */
export async function accessible(page) {
    /* Colours between two states are nobody's choice. */
    await page.evaluate(() => document.getAnimations().forEach((a) => a.effect?.getComputedTiming().endTime !== Infinity && a.finish()));
    await page.evaluate(readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8'));
    const found = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ['violations'], runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa'] }));
    const words = found.violations
        .filter((v) => v.impact === 'serious' || v.impact === 'critical')
        .flatMap((v) => v.nodes.slice(0, 5).map((n) => `${v.id} (${v.impact}): ${n.target.join(' ')}: ${n.failureSummary.split('\n').slice(1).join('; ').trim()}`));
    assert.deepEqual(words, [], 'not everybody can use this');
}

/** The names of what Tab reaches, in order, until it leaves the page or comes around. */
export async function tabOrder(page, most = 250) {
    const names = [];
    await page.evaluate(() => {
        document.activeElement?.blur?.();
        getSelection()?.removeAllRanges();
    });
    for (let i = 0; i < most; i++) {
        await page.keyboard.press('Tab');
        const at = await page.evaluate(() => {
            const e = document.activeElement;
            if (!e || e === document.body || e === document.documentElement) return null;
            const seen = Number(e.dataset.tabSeen ?? 0);
            e.dataset.tabSeen = '1';
            if (seen) return null;
            const name =
                e.getAttribute('aria-label') ??
                (e.getAttribute('aria-labelledby') ? document.getElementById(e.getAttribute('aria-labelledby'))?.textContent : null) ??
                (e.labels?.[0]?.textContent || null) ??
                e.textContent ??
                '';
            const box = e.getBoundingClientRect();
            const style = getComputedStyle(e);
            return { tag: e.tagName.toLowerCase(), name: name.trim().replace(/\s+/g, ' '), seen: box.width > 0 && box.height > 0 && style.visibility !== 'hidden', inPlace: !!e.closest('#place') };
        });
        if (!at) break;
        names.push(at);
    }
    await page.evaluate(() => document.querySelectorAll('[data-tab-seen]').forEach((e) => delete e.dataset.tabSeen));
    return names;
}

let shared = null; /* { site, browser }, one of each per file of tests */
function share() {
    if (shared) return shared;
    shared = {};
    before(
        async () => {
            shared.site = await serve();
            shared.browser = await openBrowser();
        },
        { timeout: 2 * PATIENCE },
    );
    after(
        async () => {
            await shared.browser?.close();
            const code = await shared.site?.stop();
            if (code !== undefined) assert.ok(code === 0 || code === 'SIGTERM' || code === 143 || code === 130, `sightglass serve ended with ${code}`);
        },
        { timeout: PATIENCE },
    );
    return shared;
}

/** A test with a page at a route: test('...', withPage('/lab', async (page, site) => { ... })). */
export function withPage(route, run, options = {}) {
    const all = share();
    return async (t) => {
        const page = await newPage(all.browser, all.site, options);
        try {
            await open(page, all.site, route);
            await run(page, all.site, t, all.browser);
            assert.deepEqual(page.wrongs(), []);
        } finally {
            await page.context().close();
        }
    };
}

/** The place is there: its component is mounted, and it says that it can be used. */
async function arrive(page, site, route, ready) {
    await open(page, site, route);
    await page.waitForFunction(() => document.documentElement.dataset.place);
    await ready?.(page);
}

export async function shoot(page, name) {
    mkdirSync(shots, { recursive: true });
    await page.screenshot({ path: join(shots, `${name}.png`), animations: 'disabled' });
}

export function checkPlace({ route, title = route, name = file(route), ready, gesture, state, reach = [], shortcuts = [], site: other, skip = [] }) {
    const all = other ?? share();
    const at = (what, run) =>
        skip.includes(what)
            ? test(what, { skip: true }, () => {})
            : test(what, { timeout: 3 * PATIENCE }, async (t) => {
                  const page = await newPage(all.browser, all.site, run.options ?? {});
                  try {
                      await run(page, t);
                      assert.deepEqual(page.wrongs(), []);
                  } catch (e) {
                      await shoot(page, `failed-${name}-${file(what)}`).catch(() => {});
                      const wrongs = page.wrongs();
                      if (wrongs.length > 0 && e instanceof Error) e.message += `\nthe page said: ${wrongs.join('\n')}`;
                      throw e;
                  } finally {
                      await page.context().close();
                  }
              });
    const go = (page) => arrive(page, all.site, route, ready);
    const as = (options, run) => Object.assign(run, { options });

    describe(title, { timeout: 30 * PATIENCE }, () => {
        at('loads, light, at 1280', async (page, t) => {
            await go(page);
            const paint = await page.evaluate(
                () =>
                    new Promise((resolve) =>
                        new PerformanceObserver((list) => {
                            const entry = list.getEntriesByName('first-contentful-paint')[0];
                            if (entry) resolve(entry.startTime);
                        }).observe({ type: 'paint', buffered: true }),
                    ),
            );
            t.diagnostic(`${route}: first paint after ${paint.toFixed(0)} ms`);
            record(name, { first_paint_ms: paint });
            assert.equal(await page.evaluate(() => document.documentElement.dataset.theme), 'light');
            await fits(page);
            await accessible(page);
            await shoot(page, `${name}-light`);
        });
        if (gesture)
            at('does what it is for', async (page) => {
                await go(page);
                await gesture(page);
                await shoot(page, `${name}-used-light`);
            });
        at('a copied link brings the same view back', async (page) => {
            await page.context().grantPermissions(['clipboard-read', 'clipboard-write']);
            await go(page);
            if (gesture) await gesture(page);
            const before = state ? await state(page) : null;
            await page.locator('[data-test="copy-link"]').click();
            await page.locator('[data-test="copy-link"][aria-label="Copied"]').waitFor();
            const link = await page.evaluate(() => navigator.clipboard.readText());
            assert.equal(link, page.url());
            assert.ok(!link.includes(all.site.token) && !/[?&]token=/.test(link), 'a link must not carry the token');
            const second = await newPage(all.browser, all.site, { context: page.context() });
            await second.goto(link);
            await second.waitForFunction(() => document.documentElement.dataset.place);
            await ready?.(second);
            assert.equal(new URL(second.url()).hash, new URL(link).hash, 'opening a link changed it');
            if (state) assert.deepEqual(await state(second), before);
            assert.deepEqual(second.wrongs(), []);
        });
        at('the keyboard reaches everything', async (page) => {
            await go(page);
            const order = await tabOrder(page);
            const names = order.map((o) => o.name);
            assert.ok(order.some((o) => o.inPlace), `Tab never comes to the place; it reached ${names.join(' · ')}`);
            for (const wanted of reach)
                assert.ok(names.some((n) => (wanted instanceof RegExp ? wanted.test(n) : n.toLowerCase().startsWith(wanted.toLowerCase()))), `Tab does not reach "${wanted}"; it reached ${names.join(' · ')}`);
            assert.deepEqual(order.filter((o) => o.name === '').map((o) => o.tag), [], 'something without a name has the focus');
            await page.evaluate(() => document.activeElement?.blur());
            await page.keyboard.press('?');
            await page.getByRole('dialog', { name: 'Keys' }).waitFor();
            await page.keyboard.press('Escape');
            await page.waitForFunction(() => !document.querySelector('dialog') && document.activeElement === document.body);
            for (const { press, then } of shortcuts) {
                await page.keyboard.press(press);
                await then(page);
            }
        });
        at(
            'fits a phone of 390',
            as({ viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true }, async (page) => {
                await go(page);
                await fits(page);
                await shoot(page, `${name}-390`);
            }),
        );
        at(
            'dark',
            as({ colorScheme: 'dark' }, async (page) => {
                await go(page);
                const paper = await page.evaluate(() => getComputedStyle(document.body).backgroundColor);
                const [r, g, b] = paper.match(/\d+/g).map(Number);
                assert.ok(r + g + b < 150, `the page is ${paper} in the dark`);
                await accessible(page);
                await shoot(page, `${name}-dark`);
            }),
        );
        at(
            'keeps still where motion is not wanted',
            as({ reducedMotion: 'reduce' }, async (page) => {
                await go(page);
                const moving = await page.evaluate(() =>
                    document
                        .getAnimations()
                        .filter((a) => a.playState === 'running' && Number(a.effect?.getComputedTiming().activeDuration) > 50)
                        .map((a) => `${a.animationName ?? a.transitionProperty} on ${a.effect?.target?.className}`),
                );
                assert.deepEqual(moving, []);
            }),
        );
        at(
            'fits a window of 2560',
            as({ viewport: { width: 2560, height: 1440 } }, async (page) => {
                await go(page);
                await fits(page);
            }),
        );
    });
}

/** Numbers measured on the way, for people: build/page-times.json. Nothing is decided by them. */
export function record(name, values) {
    const at = join(build, 'page-times.json');
    let all = {};
    try {
        all = JSON.parse(readFileSync(at, 'utf8'));
    } catch {
        /* the first one */
    }
    all[name] = { ...all[name], ...values };
    mkdirSync(build, { recursive: true });
    writeFileSync(at, `${JSON.stringify(all, null, 1)}\n`);
}
