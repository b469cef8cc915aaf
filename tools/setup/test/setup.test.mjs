import { describe, expect, it } from 'vitest';
import { staleRules, wrongArrows } from '../lib/boundaries.mjs';
import { addUp } from '../lib/summary.mjs';
import { workspaces } from '../lib/workspaces.mjs';

const manifest = (name, field, ...dependencies) => ({
  name: `@lazy-attention/${name}`,
  [field]: Object.fromEntries(dependencies.map((dependency) => [dependency, '*'])),
});

describe('package boundaries', () => {
  it.each([
    ['core', 'dependencies', '@lazy-attention/backend-cpu'],
    ['core', 'devDependencies', '@lazy-attention/backend-reference'],
    ['backend-cpu', 'dependencies', '@lazy-attention/nn'],
    ['backend-cpu', 'dependencies', '@lazy-attention/backend-reference'],
    ['nn', 'dependencies', '@lazy-attention/backend-cpu'],
    ['nn', 'peerDependencies', '@lazy-attention/data'],
    ['data', 'dependencies', '@lazy-attention/nn'],
    ['analysis', 'dependencies', 'lazy-attention'],
  ])('%s may not have %s %s', (name, field, dependency) => {
    expect(wrongArrows([manifest(name, field, dependency)])).toEqual([
      `@lazy-attention/${name} must not have ${dependency} in its ${field}`,
    ]);
  });

  it.each([
    ['backend-cpu', 'dependencies', '@lazy-attention/core'],
    ['backend-cpu', 'optionalDependencies', '@lazy-attention/backend-cpu-linux-x64'],
    ['backend-cpu', 'dependencies', '@lazy-attention/native'],
    ['backend-cpu', 'devDependencies', '@lazy-attention/conformance'],
    ['nn', 'devDependencies', '@lazy-attention/backend-reference'],
    ['nn', 'dependencies', 'anything-else'],
  ])('%s may have %s %s', (name, field, dependency) => {
    expect(wrongArrows([manifest(name, field, dependency)])).toEqual([]);
  });

  it('hold in this repository, and name its packages alone', () => {
    const manifests = workspaces().map((workspace) => workspace.manifest);
    expect(wrongArrows(manifests)).toEqual([]);
    expect(staleRules(manifests)).toEqual([]);
    expect(staleRules(manifests.slice(1))).toHaveLength(1);
    expect(staleRules([...manifests, { name: '@lazy-attention/nowhere' }])).toHaveLength(1);
  });
});

describe('summary', () => {
  const file = (status, ...tests) => ({
    name: 'x.test.ts',
    status,
    assertionResults: tests.map((test) => ({ status: test, fullName: 'a test' })),
  });
  const report = (passed, failed, pending, ...testResults) => ({
    numPassedTests: passed,
    numFailedTests: failed,
    numPendingTests: pending,
    numTodoTests: 0,
    numTotalTests: passed + failed + pending,
    success: failed === 0 && testResults.every(({ status }) => status === 'passed'),
    testResults,
  });

  it('adds up', () => {
    const sum = addUp([
      { name: 'a', report: report(2, 1, 1, file('failed', 'passed', 'failed')) },
      { name: 'b', report: report(3, 0, 0, file('passed', 'passed')) },
    ]);
    expect(sum).toMatchObject({ passed: 5, failed: 1, skipped: 1 });
    expect(sum.lines).toContain('  failed: a test');
  });

  it('counts a missing report and a file that does not load as failures', () => {
    expect(addUp([{ name: 'a', report: null }])).toMatchObject({ passed: 0, failed: 1 });
    expect(addUp([{ name: 'a', report: report(0, 0, 0, file('failed')) }])).toMatchObject({ failed: 1 });
    expect(addUp([{ name: 'a', report: report(0, 0, 0) }])).toMatchObject({ failed: 1 });
    expect(addUp([{ name: 'a', report: { ...report(1, 0, 0), success: false } }])).toMatchObject({ failed: 1 });
  });
});
