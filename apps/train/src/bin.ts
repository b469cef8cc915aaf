import { readFileSync } from 'node:fs';
import { LazyAttentionError } from '@lazy-attention/core';
import { type Command, CommanderError } from 'commander';
import { inFlags } from './cli/flags.ts';
import { withOwnAttention } from './cli/own-attention.ts';
import { watchPipes } from './cli/pipes.ts';
import { UsageError } from './errors.ts';
import { visible } from './output/format.ts';

const manifest = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as { version: string };
watchPipes();
let program: Command | null = null;

try {
  const argv = await withOwnAttention(process.argv);
  // Only now: the options know the kinds that have just been defined.
  const { createProgram } = await import('./cli/program.ts');
  program = createProgram(manifest.version, (code) => {
    process.exitCode = code;
  });
  program.exitOverride();
  for (const command of program.commands) command.exitOverride();
  await program.parseAsync(argv);
} catch (error) {
  process.exitCode = exitCodeOf(error);
}

/** 2 for a command line that makes no sense, 1 for everything else; help and --version are no errors. */
function exitCodeOf(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
  if (error instanceof LazyAttentionError) {
    // Names in it may be those of a file that anybody wrote.
    const message = visible(program === null ? error.message : inFlags(error.message, program));
    console.error(`error [${error.code}] ${message}`);
    return error instanceof UsageError ? 2 : 1;
  }
  if (error instanceof Error && 'syscall' in error) console.error(`error [SYSTEM] ${error.message}`);
  else console.error(error);
  return 1;
}
