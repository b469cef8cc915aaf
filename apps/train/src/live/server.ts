import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { AttentionSummary } from '@lazy-attention/analysis';
import { renderPieces } from '@lazy-attention/analysis/report';
import type { Backend } from '@lazy-attention/core';
import type { Dataset } from '@lazy-attention/data';
import { collectReport, mapTokens } from '../compare/collect.ts';
import { writeWhole } from '../run/files.ts';
import { type RunFolder, runName } from '../run/folder.ts';
import type { RunRecord } from '../run/record.ts';
import type { TrainListener } from '../training/train.ts';
import { type Audience, createAudience } from './audience.ts';
import { createGate, type Gate } from './gate.ts';
import { refuseRequest, SAFE_HEADERS } from './requests.ts';
import { createLiveState, type LiveState } from './state.ts';

/** Milliseconds between two answers, however many ask: of whole pages, which are large, and of all else. */
const PAUSES = { page: 1000, other: 250 };
/** Milliseconds between two lines on how far training is. */
const PROGRESS = 2000;
/** Curves are drawn anew between evaluations, too, but take at most this share of the time. */
const DRAWING = 0.02;
/** Milliseconds that readers have to fetch the last report before their connections are cut. */
const FAREWELL = 3000;
/** Most connections at a time. */
const MOST = 16;

/** The report of a run, served while it trains. */
export interface LivePage {
  /** What a browser opens. */
  readonly address: string;
  /** To be told of steps and evaluations. */
  readonly listener: TrainListener;
  /** How often a report was rendered. */
  rendered(): number;
  /** Measures attention, writes the final report to `path`, shows it, and stops serving. */
  finish(backend: Backend, path: string): Promise<void>;
  /** Stops serving at once. */
  close(): void;
}

/**
 * Serves the report of a run on this machine alone. A page is rendered once for each evaluation, however often it is
 * asked for, and answers go out in batches, so that readers cannot slow the training down. What changes is sent to open
 * pages over an event stream.
 */
export async function serveLive(folder: RunFolder, record: RunRecord, dataset: Dataset): Promise<LivePage> {
  const how = { title: `Training ${runName(folder)}`, command: record.command };
  const tokens = mapTokens(dataset, record);
  let attention: AttentionSummary | null = null;
  let finished = false;
  const state = createLiveState(() => {
    const measured = attention === null ? null : { attention, mapTokens: tokens };
    return collectReport([folder.path], { ...how, backend: 'reference', measure: false, live: '/events', measured });
  });
  const audience = createAudience(state);
  const gateOf = (pause: number) => createGate((open) => setTimeout(open, pause).unref());
  const gates = { page: gateOf(PAUSES.page), other: gateOf(PAUSES.other) };
  const server = createServer((request, response) => answer(request, response));
  server.maxConnections = MOST;
  const address = await listen(server);
  const answer = answers(state, audience, gates, (server.address() as AddressInfo).port);
  return {
    address,
    listener: follow(state, audience, (looked) => {
      attention = looked;
    }),
    rendered: state.rendered,
    async finish(backend, path) {
      const report = renderPieces(await collectReport([folder.path], { ...how, backend, measure: true }));
      writeWhole(path, report.page);
      audience.end(report);
      for (const gate of Object.values(gates)) gate.flush();
      server.close();
      server.closeIdleConnections();
      finished = true;
      setTimeout(() => server.closeAllConnections(), FAREWELL).unref();
    },
    close() {
      // What was sent last may still be on its way.
      if (finished) return;
      server.close();
      server.closeAllConnections();
    },
  };
}

function answers(
  state: LiveState,
  audience: Audience,
  gates: Readonly<Record<'page' | 'other', Gate>>,
  port: number,
): RequestListener {
  return (request, response) => {
    const refusal = refuseRequest(request, port);
    const { pathname, searchParams } = new URL(request.url ?? '/', 'http://localhost');
    const answer = async () => {
      if (refusal !== null || (pathname !== '/' && pathname !== '/events')) {
        response.writeHead(refusal?.status ?? 404, { ...SAFE_HEADERS, ...refusal?.headers }).end();
      } else if (request.method === 'HEAD') {
        response.writeHead(200, SAFE_HEADERS).end();
      } else if (pathname === '/events') {
        await audience.add(response, searchParams.get('from') ?? '');
      } else {
        const { report } = await state.current();
        response.writeHead(200, { ...SAFE_HEADERS, 'content-type': 'text/html; charset=utf-8' }).end(report.page);
      }
    };
    const whole = refusal === null && pathname === '/' && request.method === 'GET';
    gates[whole ? 'page' : 'other'].pass(() => {
      if (response.destroyed) return;
      answer().catch(() => {
        // The run's files cannot be read: training says so itself.
        if (!response.headersSent) response.writeHead(500, SAFE_HEADERS);
        response.end();
      });
    });
  };
}

/** Tells the audience of training: a line every few seconds, the report after every evaluation. */
function follow(
  state: LiveState,
  audience: Audience,
  looked: (attention: AttentionSummary | null) => void,
): TrainListener {
  let steps = 0;
  let toldAt = Number.NEGATIVE_INFINITY;
  let drawnAt = performance.now();
  let drawing = 0;
  const redraw = async () => {
    drawnAt = performance.now();
    state.changed();
    if (audience.size() === 0) return;
    await audience.update().catch(() => {}); // the run's files cannot be read: training says so itself
    drawing = performance.now() - drawnAt;
  };
  return {
    onStart: (info) => {
      ({ steps } = info);
    },
    onStep: ({ step, loss }) => {
      const now = performance.now();
      if (now - toldAt < PROGRESS) return;
      toldAt = now;
      audience.progress(`Step ${step} of ${steps}, loss ${loss.toFixed(3)}.`);
      if (audience.size() > 0 && now - drawnAt > drawing / DRAWING) void redraw();
    },
    onEval: (_, attention) => {
      looked(attention);
      void redraw();
    },
  };
}

function listen(server: Server): Promise<string> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      // Training decides when the program ends, not an open page.
      server.unref();
      resolve(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`);
    });
  });
}
