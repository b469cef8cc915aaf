import { existsSync } from 'node:fs';

/** The browser of the tests. */
export const executablePath = process.env.LAZY_ATTENTION_CHROMIUM ?? '/usr/bin/chromium';

/** Why there is none, or an empty text. */
export const noBrowser = existsSync(executablePath)
  ? ''
  : `no ${executablePath}; LAZY_ATTENTION_CHROMIUM names another`;
