import { gzipSync } from 'node:zlib';
import { openCorpus } from '@lazy-attention/data';
import { attentionKinds } from '@lazy-attention/nn';
import katex from 'katex';
import { defineConfig, type Plugin } from 'vite';
import { licences } from './scripts/licences.mjs';

/** The formulas of the page. */
const FORMULAS = {
  softmax: String.raw`p_{ij} = \frac{e^{s_{ij}}}{\sum_{k \le i} e^{s_{ik}}} \qquad \sum_{j \le i} p_{ij} = 1`,
  elastic: String.raw`w_{ij} = \max\Bigl(0,\; p_{ij} + \frac{\tau_h}{i}\Bigr)`,
  scores: String.raw`s_{ij} = \frac{q_i^\top k_j}{\sqrt{d}} + b_h(i - j)`,
};

/** A module `virtual:NAME` whose default export is made when the page is built. */
function madeOnce(name: string, make: () => unknown): Plugin {
  const id = `virtual:${name}`;
  return {
    name,
    resolveId: (source) => (source === id ? `\0${id}` : null),
    load: (source) => (source === `\0${id}` ? `export default ${JSON.stringify(make())}` : null),
  };
}

/** KaTeX runs when the page is built: its MathML needs no fonts, no styles and no script in the page. */
const formulas = madeOnce('formulas', () =>
  Object.fromEntries(
    Object.entries(FORMULAS).map(([name, tex]) => [
      name,
      katex.renderToString(tex, { output: 'mathml', displayMode: true }),
    ]),
  ),
);

/** Names and colours only: what the kinds compute is the worker's, and would be most of the page's own script. */
const kinds = madeOnce('kinds', () => attentionKinds().map(({ name, label, color }) => ({ name, label, color })));

/** Moby Dick, packed, beside the recording: not in the tree, since a package has it. */
function book(): Plugin {
  const fileName = 'record/moby-dick.txt.gz';
  const packed = async () => {
    let text = '';
    for await (const piece of (await openCorpus('moby-dick')).pieces()) text += piece.text;
    return gzipSync(text, { level: 9 });
  };
  return {
    name: 'book',
    async generateBundle() {
      this.emitFile({ type: 'asset', fileName, source: await packed() });
    },
    configureServer({ middlewares }) {
      middlewares.use(`/${fileName}`, (_request, response) => void packed().then((bytes) => response.end(bytes)));
    },
  };
}

const licence = licences('licenses.txt');

export default defineConfig({
  base: './',
  plugins: [formulas, kinds, book(), licence.page],
  worker: { format: 'es', plugins: () => [licence.worker] },
  build: { target: 'es2023', assetsInlineLimit: 0, modulePreload: { polyfill: false }, chunkSizeWarningLimit: 2000 },
});
