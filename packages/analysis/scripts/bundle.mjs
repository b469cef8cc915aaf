// Makes dist/report/page.client.js: the program of the report page with the parts of ECharts that it uses.
import { fileURLToPath } from 'node:url';
import { build } from 'rolldown';

/** What the licences of the library inside ask for. */
const NOTICE = `/*! Includes Apache ECharts (Apache-2.0, Copyright The Apache Software Foundation, https://echarts.apache.org)
and zrender (BSD-3-Clause, Copyright Baidu Inc.), and tslib (0BSD, Copyright Microsoft Corporation). */`;
const at = (path) => fileURLToPath(new URL(path, import.meta.url));
await build({
  input: at('../dist/report/client/main.js'),
  platform: 'browser',
  logLevel: 'warn',
  output: {
    file: at('../dist/report/page.client.js'),
    format: 'iife',
    minify: true,
    comments: { legal: true },
    banner: NOTICE,
  },
});
