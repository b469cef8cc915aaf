import { appendFileSync, writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import {
  type Backend,
  createBackend,
  type FloatDType,
  LazyAttentionError,
  probeBackends,
  ValueError,
} from '@lazy-attention/core';
import type { Case, Size } from './case.ts';
import { conformanceCases } from './cases.ts';
import { type Column, coverageTable } from './coverage.ts';
import { type CaseResult, runCases } from './run.ts';

const USAGE = `usage: lazy-attention-conformance [options] [backend...]

Runs the conformance suite on each backend, all that work here if none is named, and prints how many tests
pass, op by backend, forward and backward.

  --size small|full   small shapes for emulated GPUs (default full)
  --only TEXT         tests whose name holds TEXT
  --json              one JSON object per test instead of the table
  --out FILE          these into a file, and nothing on the terminal: for runtimes that cannot write there, such as
                      Node under Wine
  --help

Exits with 0 when all tests pass, 1 when one fails, 2 for a mistake in the command.
`;

/** The command. Returns the exit code. */
export async function main(args: readonly string[]): Promise<number> {
  try {
    const options = parse(args);
    if (options === null) {
      process.stdout.write(USAGE);
      return 0;
    }
    return await test(options);
  } catch (error) {
    if (!(error instanceof LazyAttentionError)) throw error;
    process.stderr.write(`${error.message}\n`);
    return 2;
  }
}

interface Options {
  readonly backends: readonly string[];
  readonly size: Size;
  readonly only: string;
  readonly json: boolean;
  readonly out: string | undefined;
}

function parse(args: readonly string[]): Options | null {
  const { values, positionals } = parseStrictly(args);
  if (values.help) return null;
  const { size = 'full', only = '', out } = values;
  if (size !== 'small' && size !== 'full') throw new ValueError(`--size is '${size}'; expected small or full`);
  if (out !== undefined) beginFile(out);
  return { backends: positionals, size, only, json: values.json === true || out !== undefined, out };
}

/** Before minutes of work. */
function beginFile(path: string): void {
  try {
    writeFileSync(path, '');
  } catch (cause) {
    throw new ValueError(`--out cannot be written: ${(cause as Error).message}; name a file in a folder that exists`);
  }
}

function parseStrictly(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      allowPositionals: true,
      options: {
        size: { type: 'string' },
        only: { type: 'string' },
        json: { type: 'boolean' },
        out: { type: 'string' },
        help: { type: 'boolean' },
      },
    });
  } catch (error) {
    throw new ValueError(`${error instanceof Error ? error.message : error}\n\n${USAGE}`);
  }
}

async function test({ backends, size, only, json, out }: Options): Promise<number> {
  const names = backends.length > 0 ? backends : await available();
  const columns: Column[] = [];
  for (const name of names) {
    const backend = await createBackend(name);
    try {
      const cases = select(conformanceCases({ size, dtypes: floatTypes(backend) }), only);
      if (!json) process.stderr.write(`${name}: ${cases.length} tests on ${backend.device}\n`);
      const results = await runCases(backend, cases, { onResult: (result) => report(name, result, json, out) });
      columns.push({ name, results });
    } finally {
      await backend.dispose();
    }
  }
  if (!json) process.stdout.write(`${coverageTable(columns)}\n`);
  const failed = columns.flatMap(({ results }) => results).some(({ status }) => status === 'failed');
  return failed ? 1 : 0;
}

async function available(): Promise<string[]> {
  const reports = await probeBackends();
  return reports.filter((report) => report.available).map(({ name }) => name);
}

function floatTypes(backend: Backend): FloatDType[] {
  return [...backend.dtypes].filter((dtype): dtype is FloatDType => dtype !== 'i32');
}

function select(cases: readonly Case[], only: string): Case[] {
  const selected = cases.filter(({ name }) => name.includes(only));
  if (selected.length === 0) throw new ValueError(`--only '${only}' matches no test`);
  return selected;
}

function report(
  backend: string,
  { case: test, status, message, milliseconds }: CaseResult,
  json: boolean,
  out: string | undefined,
): void {
  if (json) {
    const { name, op, direction, dtype } = test;
    const line = { backend, name, op, direction, dtype, status, message, milliseconds: Math.round(milliseconds) };
    if (out === undefined) process.stdout.write(`${JSON.stringify(line)}\n`);
    else appendFileSync(out, `${JSON.stringify(line)}\n`);
  } else if (status === 'failed') {
    process.stderr.write(`FAILED ${test.name}\n  ${message.replaceAll('\n', '\n  ')}\n`);
  }
}
