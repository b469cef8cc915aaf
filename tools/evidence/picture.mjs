// node tools/evidence/picture.mjs: docs/pictures/smollm2-sinks.svg, first-token weight by layer and head, before and after the conversion.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { root } from '../setup/lib/workspaces.mjs';

const CELL = 18;
const GAP = 2;

/** Blue from nearly nothing to full at a weight of 0.8. */
function cell(weight, layer, head, top) {
  const x = 10 + layer * (CELL + GAP);
  const y = top + head * (CELL + GAP);
  const opacity = Math.min(1, 0.04 + weight / 0.8).toFixed(2);
  const edge = weight > 0.3 ? ' stroke="#d1453b" stroke-width="1.5"' : '';
  return `<rect x="${x}" y="${y}" width="${CELL}" height="${CELL}" rx="3" fill="#0b62c4" fill-opacity="${opacity}"${edge}><title>layer ${layer}, head ${head}: ${weight.toFixed(3)}</title></rect>`;
}

/** `models`: by name, weights [layers][heads]. */
function picture(models) {
  const parts = [];
  let top = 36;
  for (const [name, layers] of Object.entries(models)) {
    const all = layers.flat();
    const above = all.filter((weight) => weight > 0.3).length;
    parts.push(`<text x="10" y="${top - 12}">${name}: ${above} of ${all.length} heads above 0.3 (red)</text>`);
    for (const [layer, heads] of layers.entries()) {
      for (const [head, weight] of heads.entries()) parts.push(cell(weight, layer, head, top));
    }
    top += layers[0].length * (CELL + GAP) + 44;
  }
  const width = 20 + Object.values(models)[0].length * (CELL + GAP);
  const height = top - 30;
  const style = 'text{font:14px system-ui,sans-serif;fill:#57606a}';
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" role="img" aria-label="weight on the first token by layer and head">\n<style>${style}</style>\n<rect width="${width}" height="${height}" rx="8" fill="#ffffff"/>\n${parts.join('\n')}\n</svg>\n`;
}

if (import.meta.main ?? process.argv[1] === import.meta.filename) {
  const models = JSON.parse(readFileSync(join(root, 'docs/evidence/conversion-heads.json'), 'utf8'));
  writeFileSync(join(root, 'docs/pictures/smollm2-sinks.svg'), picture(models));
}
