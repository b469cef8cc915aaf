export { type Arm, groupRuns, type Scenario, type Spread, spread, spreadOf } from './aggregate.ts';
export type { CurvePoint, FinalFigures, ReportData, ReportRun } from './data.ts';
export { EXPECTED, PAPER } from './data.ts';
export { type Verdict, verdicts } from './headline.ts';
export { changesBetween, type RenderedReport, type ReportChanges } from './live.ts';
export { renderPieces, renderReport } from './page.ts';
export { renderPicture } from './picture.ts';
