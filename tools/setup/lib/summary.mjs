/**
 * Adds vitest's JSON reports up over packages. A package without a report or without a single test, a test file that could
 * not even be loaded, and an error outside all tests count as one failure each: silence is never green.
 */
export function addUp(reports) {
  const lines = [];
  const total = { passed: 0, failed: 0, skipped: 0 };
  for (const { name, report } of reports) {
    if (report === null) {
      lines.push(`${name}: no report; its tests did not run`);
      total.failed++;
      continue;
    }
    const broken = report.testResults.filter((file) => file.status === 'failed' && file.assertionResults.length === 0);
    const skipped = report.numPendingTests + report.numTodoTests;
    let failed = report.numFailedTests + broken.length;
    if (failed === 0 && (report.success === false || report.numTotalTests === 0)) {
      lines.push(`${name}: ${report.numTotalTests === 0 ? 'has no tests' : 'an error outside its tests'}`);
      failed++;
    }
    lines.push(`${name}: ${report.numPassedTests} passed, ${failed} failed, ${skipped} skipped`);
    for (const file of broken) lines.push(`  could not load ${file.name}`);
    for (const file of report.testResults) {
      for (const test of file.assertionResults) {
        if (test.status === 'failed') lines.push(`  failed: ${test.fullName}`);
      }
    }
    total.passed += report.numPassedTests;
    total.failed += failed;
    total.skipped += skipped;
  }
  return { lines, ...total };
}
