import { chromium } from 'playwright-core';

const file = process.argv[2];
const [w, scheme, from, to] = [
  Number(process.argv[3]),
  process.argv[4],
  Number(process.argv[5]),
  Number(process.argv[6]),
];
const browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: ['--no-sandbox'] });
const page = await browser.newPage({ viewport: { width: w, height: 1500 }, colorScheme: scheme });
page.on('console', (m) => console.log(m.type(), m.text()));
page.on('pageerror', (e) => console.log('pageerror', e.message));
await page.goto('file://' + file);
const H = await page.evaluate(() => document.documentElement.scrollHeight);
console.log(H, await page.evaluate(() => document.documentElement.scrollWidth - innerWidth));
let n = 0;
for (let y = from; y < Math.min(to, H); y += 1500) {
  await page.evaluate((y) => scrollTo(0, y), y);
  await page.waitForTimeout(400);
  await page.screenshot({ path: `/tmp/s-${w}-${scheme}-${n++}.png` });
}
await browser.close();
