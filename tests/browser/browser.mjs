// One headless Chromium with a fake camera and microphone, driven over standard input and output: a JSON object a line.
//
// In:  {"id":1,"do":"open","page":"crew","url":"…","certificate":{"origin":"…","certPath":"…","keyPath":"…"}}
//      {"id":2,"do":"run","page":"crew","code":"async argument => …","argument":…}
// Out: {"id":1,"done":…} or {"id":1,"failed":"…"}, {"page":"crew","said":…} for each `window.emit(…)`, {"ready":"…"} once.
//
// Without a `url` a page is served from this folder on loopback: `crew.html`, an ambulance's side, whose signals are for the
// caller to carry. It ends with its input.
import { readFileSync } from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { createRequire } from 'node:module';

// Installed by name, beside the target directory.
const { chromium } = createRequire(path.join(process.env.NODE_MODULES_OF, 'x.js'))('playwright-core');

const here = import.meta.dirname;
const files = {
  '/': [path.join(here, 'crew.html'), 'text/html'],
  '/crew.js': [path.join(here, 'crew.js'), 'text/javascript'],
  '/media.js': [path.join(here, '../../gateway/src/web/test_page/media.js'), 'text/javascript'],
};
const server = http.createServer(({ url }, reply) => {
  const file = files[url];
  if (!file) return reply.writeHead(404).end();
  reply.writeHead(200, { 'content-type': file[1] }).end(readFileSync(file[0]));
});
await new Promise(listening => server.listen(0, '127.0.0.1', listening));

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM,
  headless: true,
  args: [
    '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
    '--disable-component-update', '--disable-sync', '--use-fake-device-for-media-stream',
    '--use-fake-ui-for-media-stream', '--autoplay-policy=no-user-gesture-required',
    // Candidates are addresses: names of mDNS are resolved by nobody in a namespace.
    '--disable-features=WebRtcHideLocalIpsWithMdns',
    ...(process.env.CHROMIUM_FLAGS ?? '').split(' ').filter(Boolean),
  ],
});
const pages = new Map();
const write = line => process.stdout.write(`${JSON.stringify(line)}\n`);

const acts = {
  async open({ page: name, url, certificate }) {
    const clientCertificates = certificate ? [certificate] : undefined;
    const context = await browser.newContext({ ignoreHTTPSErrors: true, clientCertificates });
    const page = await context.newPage();
    page.on('pageerror', error => process.stderr.write(`${name}: ${error.message}\n`));
    page.on('console', message => process.stderr.write(`${name}: ${message.text()}\n`));
    await page.exposeFunction('emit', said => write({ page: name, said }));
    await page.goto(url ?? `http://localhost:${server.address().port}/`, { timeout: 20_000 });
    pages.set(name, page);
    return page.url();
  },
  async run({ page, code, argument }) {
    return (await pages.get(page).evaluate(`(${code})(${JSON.stringify(argument ?? null)})`)) ?? null;
  },
  async close({ page }) {
    await pages.get(page).context().close();
    return null;
  },
};

write({ ready: browser.version() });
for await (const line of createInterface({ input: process.stdin })) {
  const order = JSON.parse(line);
  acts[order.do](order).then(
    done => write({ id: order.id, done }),
    error => write({ id: order.id, failed: error.message.split('\n')[0] }),
  );
}
await browser.close();
process.exit(0);
