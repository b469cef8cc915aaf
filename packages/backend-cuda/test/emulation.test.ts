import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { currentTarget, targetName } from '@lazy-attention/native';
import { expect, test } from 'vitest';

const program = join(import.meta.dirname, '..', 'build', `${targetName(currentTarget())}-emulated`, 'emulation_tests');

test('the emulation reports what kernels do wrong, and computes as the hardware is documented to', (context) => {
  if (!existsSync(program)) context.skip('no C++ compiler built the emulated device');
  expect(execFileSync(program, { encoding: 'utf8' })).toContain(' 0 failed');
});
