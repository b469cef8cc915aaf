import { LazyAttentionError } from '@lazy-attention/core';

/** What a measurement or a report cannot go on with; the message says where and what to do. */
export class AnalysisError extends LazyAttentionError {
  constructor(code: AnalysisErrorCode, message: string, options?: ErrorOptions) {
    super(code, message, options);
  }
}

/**
 * `NOT_FINITE`: NaN or infinity among weights or activations. `NOT_MEASURED`: a summary before any `flush`.
 * `REPORT_DATA`: the data of a report is not what `ReportData` says.
 */
export type AnalysisErrorCode = 'NOT_FINITE' | 'NOT_MEASURED' | 'REPORT_DATA';
