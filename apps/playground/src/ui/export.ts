import { type HeadView, rowStart, rowsOf } from '../engine/view.ts';
import { headOf, kinds, shown, tokens, views } from '../state/store.ts';
import { theme } from '../state/theme.ts';
import { css, kindLabel, weightColor } from './palette.ts';

const CELL = 10;
const GAP = 30;
const TOP = 40;

interface Panel {
  readonly kind: string;
  readonly head: HeadView;
  readonly tokens: readonly string[];
}

function panels(): Panel[] {
  return ([0, 1] as const).flatMap((side) => {
    const head = headOf(views.value[side]);
    return head === null ? [] : [{ kind: kinds.value[side], head, tokens: tokens.value[side] }];
  });
}

/** Both maps as SVG. */
export function asSvg(): string {
  const shown = panels();
  const size = Math.max(1, ...shown.map(({ head }) => rowsOf(head.weights))) * CELL;
  const dark = theme() === 'dark';
  const parts = shown.map(({ kind, head }, n) => {
    const color = weightColor(kind);
    const cells: string[] = [];
    for (let i = 0; i < rowsOf(head.weights); i++) {
      for (let j = 0; j <= i; j++) {
        const fill = css(color(head.weights[rowStart(i) + j] as number));
        cells.push(`<rect x="${j * CELL}" y="${i * CELL}" width="${CELL}" height="${CELL}" fill="${fill}"/>`);
      }
    }
    const title = `${kindLabel(kind)}, head ${head.layer}.${head.head}: ${head.firstTokenWeight.toFixed(2)} on the first token`;
    return `<g transform="translate(${GAP + n * (size + GAP)} ${TOP})"><text y="-14" fill="${dark ? '#f2f1ee' : '#1b1d21'}">${escaped(title)}</text>${cells.join('')}</g>`;
  });
  const width = GAP + shown.length * (size + GAP);
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${size + TOP + GAP}" viewBox="0 0 ${width} ${size + TOP + GAP}" font-family="system-ui, sans-serif" font-size="14"><rect width="100%" height="100%" fill="${dark ? '#171a1f' : '#ffffff'}"/>${parts.join('')}</svg>`;
}

function escaped(title: string): string {
  return title.replaceAll('&', '&amp;').replaceAll('<', '&lt;');
}

/** Both maps as PNG, at twice the size; null where the browser cannot. */
export async function asPng(): Promise<Blob | null> {
  const image = new Image();
  const url = URL.createObjectURL(new Blob([asSvg()], { type: 'image/svg+xml' }));
  try {
    image.src = url;
    await image.decode();
    const canvas = document.createElement('canvas');
    canvas.width = 2 * image.width;
    canvas.height = 2 * image.height;
    canvas.getContext('2d')?.drawImage(image, 0, 0, canvas.width, canvas.height);
    return await new Promise((resolve) => canvas.toBlob(resolve));
  } finally {
    URL.revokeObjectURL(url);
  }
}

/** Every weight of both maps, one a line. */
export function asCsv(): string {
  const lines = panels().flatMap(({ kind, head, tokens: names }) => {
    const all: string[] = [];
    for (let i = 0; i < rowsOf(head.weights); i++) {
      for (let j = 0; j <= i; j++) {
        all.push(
          [kind, head.layer, head.head, i, quoted(names[i]), j, quoted(names[j]), head.weights[rowStart(i) + j]].join(
            ',',
          ),
        );
      }
    }
    return all;
  });
  return `kind,layer,head,query,query_token,key,key_token,weight\n${lines.join('\n')}\n`;
}

function quoted(token = ''): string {
  return `"${token.replaceAll('"', '""')}"`;
}

/** Losses of the shown training, a step a line. */
export function asLosses(): string {
  const { steps, values } = shown.value?.losses ?? { steps: [], values: [[], []] };
  const lines = steps.map((step, i) => [step, values[0][i], values[1][i]].join(','));
  return `step,${(shown.value?.settings.kinds ?? ['left', 'right']).map((kind, side) => `${kind} ${side === 0 ? 'left' : 'right'}`).join(',')}\n${lines.join('\n')}\n`;
}
