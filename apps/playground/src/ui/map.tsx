import { useEffect, useRef } from 'preact/hooks';
import { rowStart, rowsOf, type Triangle } from '../engine/view.ts';
import { row } from '../state/store.ts';
import { theme } from '../state/theme.ts';
import { later } from './later.ts';
import { shadeOf, weightPixels } from './palette.ts';

/** Paints a triangle, one pixel a weight; nothing above the diagonal. */
export function paint(canvas: HTMLCanvasElement, weights: Triangle, kind: string): void {
  const size = rowsOf(weights);
  if (size === 0) return;
  canvas.width = size;
  canvas.height = size;
  const context = canvas.getContext('2d');
  if (context === null) return;
  const image = context.createImageData(size, size);
  const pixels = new Uint32Array(image.data.buffer);
  const colors = weightPixels(kind);
  for (let i = 0; i < size; i++) {
    const row = rowStart(i);
    for (let j = 0; j <= i; j++) pixels[i * size + j] = colors[shadeOf(weights[row + j] as number)] as number;
  }
  context.putImageData(image, 0, 0);
}

interface MapProps {
  readonly weights: Triangle;
  readonly kind: string;
  /** For who does not see it; left out where the words beside it say it. */
  readonly label?: string;
  /** Whether a row can be pointed at. */
  readonly pointed?: boolean;
}

/** One head's weights: a row per token, a column per earlier token. */
export function AttentionMap({ weights, kind, label, pointed = false }: MapProps) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const page = theme();
  useEffect(() => {
    const show = () => {
      if (canvas.current !== null) paint(canvas.current, weights, kind);
    };
    // The large maps at once; of thumbnails there may be a hundred.
    return pointed ? show() : later(show);
  }, [weights, kind, page, pointed]);
  const size = rowsOf(weights);
  const point = (event: PointerEvent) => {
    const box = (event.currentTarget as HTMLElement).getBoundingClientRect();
    row.value = Math.max(0, Math.min(size - 1, Math.floor(((event.clientY - box.top) / box.height) * size)));
  };
  return (
    <div class="map" {...(pointed ? { onPointerMove: point } : {})}>
      <canvas
        ref={canvas}
        {...(label === undefined ? { 'aria-hidden': true } : { role: 'img', 'aria-label': label })}
      />
      {pointed && row.value !== null && row.value < size && (
        <div
          class="pointer"
          style={{
            top: `${(100 * row.value) / size}%`,
            height: `${100 / size}%`,
            width: `${(100 * (row.value + 1)) / size}%`,
          }}
        />
      )}
    </div>
  );
}
