import type { ServerResponse } from 'node:http';
import { changesBetween, type RenderedReport } from '@lazy-attention/analysis/report';
import { SAFE_HEADERS } from './requests.ts';
import type { LiveState } from './state.ts';

/** Bytes that may wait for a reader; one that is slower is let go. */
const MOST_WAITING = 2 ** 24;

/** The open pages, each with an event stream over which it is sent what it does not show yet. */
export interface Audience {
  /** Adds a page that shows the state of that version. */
  add(response: ServerResponse, version: string): Promise<void>;
  /** Sends every page what is new. */
  update(): Promise<void>;
  /** Sends every page how far training is. */
  progress(line: string): void;
  /** Sends the last report and ends the streams. */
  end(report: RenderedReport): void;
  /** How many pages are open. */
  size(): number;
}

/** The pages that follow a state. */
export function createAudience(state: LiveState): Audience {
  const shows = new Map<ServerResponse, string>();
  let line = 'Waiting for the first step.';
  const send = (to: ServerResponse, event: string, data: unknown) => {
    if (to.writableLength > MOST_WAITING) to.destroy();
    else to.write(eventText(event, data));
  };
  const bring = async (to: ServerResponse) => {
    const { version, changes } = await state.since(shows.get(to) ?? '');
    if (!shows.has(to)) return;
    shows.set(to, version);
    if (changes !== null) send(to, 'changes', changes);
  };
  return {
    async add(response, version) {
      response.writeHead(200, { ...SAFE_HEADERS, 'content-type': 'text/event-stream', connection: 'close' });
      shows.set(response, version);
      response.on('close', () => shows.delete(response));
      send(response, 'progress', line);
      await bring(response);
    },
    async update() {
      await Promise.all([...shows.keys()].map(bring));
    },
    progress(now) {
      line = now;
      for (const to of shows.keys()) send(to, 'progress', line);
    },
    end(report) {
      const last = eventText('changes', changesBetween(null, report)) + eventText('end', null);
      for (const to of shows.keys()) to.end(last);
    },
    size: () => shows.size,
  };
}

function eventText(event: string, data: unknown): string {
  return `event: ${event}\ndata: ${JSON.stringify(data)}\n\n`;
}
