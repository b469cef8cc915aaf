import { createServer, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { renderReport } from '@lazy-attention/analysis/report';
import type { Backend } from '@lazy-attention/core';
import { writeWhole } from '../run/files.ts';
import type { RunFolder } from '../run/folder.ts';
import { runName } from '../run/folder.ts';
import type { TrainListener } from '../training/train.ts';
import { collectReport } from './collect.ts';

/** The page asks again at most this often, in milliseconds. */
const RHYTHM = 2000;
/** How long the last page may take to be fetched before the program ends. */
const FAREWELL = 3000;

export interface LivePage {
  readonly address: string;
  /** To be told of steps and evaluations. */
  readonly listener: TrainListener;
  /** Measures attention, writes the final report to `path`, shows it, and stops serving. */
  finish(backend: Backend, path: string): Promise<void>;
  /** Stops serving at once. */
  close(): void;
}

/**
 * The report of a run, served on this machine alone while the run trains. The page is made when it is asked for, from
 * the files of the run; an event stream tells it when to ask again.
 */
export async function serveLive(folder: RunFolder, command: string): Promise<LivePage> {
  const streams = new Set<ServerResponse>();
  let final: string | null = null;
  let fetchedFinal = () => {};
  const current = async () =>
    final ?? renderReport(await reportOf({ measure: false, backend: 'reference', live: '/events' }));
  const reportOf = (how: { measure: boolean; backend: Backend | string; live?: string }) =>
    collectReport([folder.path], { title: `Training ${runName(folder)}`, command, ...how });

  const server = createServer(async (request, response) => {
    if (request.url === '/events') {
      response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' });
      response.write(': following the run\n\n');
      streams.add(response);
      request.on('close', () => streams.delete(response));
    } else if (request.url === '/') {
      try {
        const page = await current();
        response.writeHead(200, { 'content-type': 'text/html; charset=utf-8', 'cache-control': 'no-store' }).end(page);
        if (page === final) response.on('finish', fetchedFinal);
      } catch (error) {
        response.writeHead(500, { 'content-type': 'text/plain; charset=utf-8' }).end(String(error));
      }
    } else {
      response.writeHead(404).end();
    }
  });
  const address = await listen(server);
  const update = () => {
    for (const stream of streams) stream.write('event: update\ndata: update\n\n');
  };
  /** Resolves when all streams have been told and their ends are on the way. */
  const end = () =>
    Promise.all(
      [...streams].map((stream) => new Promise<void>((told) => stream.end('event: end\ndata: end\n\n', told))),
    );
  const close = () => {
    server.close();
    server.closeAllConnections();
  };
  let toldAt = 0;
  const tell = () => {
    if (performance.now() - toldAt < RHYTHM) return;
    toldAt = performance.now();
    update();
  };
  return {
    address,
    listener: { onStep: tell, onEval: tell },
    async finish(backend, path) {
      const page = renderReport(await reportOf({ measure: true, backend }));
      writeWhole(path, page);
      const fetched = new Promise<void>((resolve) => {
        fetchedFinal = resolve;
        setTimeout(resolve, streams.size === 0 ? 0 : FAREWELL).unref();
      });
      final = page;
      update();
      if (streams.size > 0) await fetched;
      await end();
      server.close();
      server.closeIdleConnections();
    },
    close,
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

/** Both are told, in this order. */
export function together(first: TrainListener, second: TrainListener): TrainListener {
  return {
    onStart: (info) => {
      first.onStart?.(info);
      second.onStart?.(info);
    },
    onStep: (metric) => {
      first.onStep?.(metric);
      second.onStep?.(metric);
    },
    onEval: (metric) => {
      first.onEval?.(metric);
      second.onEval?.(metric);
    },
    onNotice: (line) => {
      first.onNotice?.(line);
      second.onNotice?.(line);
    },
  };
}
