import { builtinModules } from 'node:module';
import { join } from 'node:path';

/**
 * The bundlers, each as `(entry, outfile, forNode) => Promise<string[]>`: makes one file for a page, or for Node, with the
 * bundler's own defaults; gives its warnings. @throws what the bundler throws
 */
export const BUNDLERS = { esbuild, webpack, Vite: vite, Rollup: rollup };

const NODE = [...builtinModules, ...builtinModules.map((name) => `node:${name}`)];

async function esbuild(entry, outfile, forNode) {
  const { build, formatMessages } = await import('esbuild');
  const platform = forNode ? 'node' : 'browser';
  const options = { bundle: true, minify: true, format: 'esm', logLevel: 'silent', platform };
  const { warnings } = await build({ entryPoints: [entry], outfile, ...options });
  return formatMessages(warnings, { kind: 'warning' });
}

async function webpack(entry, outfile, forNode) {
  const { default: compiler } = await import('webpack');
  const options = {
    mode: 'production',
    entry,
    target: forNode ? 'node20' : 'web',
    output: {
      path: join(outfile, '..'),
      filename: outfile.split('/').at(-1),
      module: true,
      library: { type: 'module' },
    },
    experiments: { outputModule: true },
    performance: { hints: false },
    // One file, as the others make.
    optimization: { splitChunks: false },
  };
  const stats = await new Promise((resolve, reject) => {
    compiler(options, (error, result) => (error ? reject(error) : resolve(result)));
  });
  const { errors, warnings } = stats.toJson({ all: false, errors: true, warnings: true });
  if (errors.length > 0) throw new Error(errors.map(({ message }) => message).join('\n'));
  return warnings.map(({ message }) => message);
}

async function vite(entry, outfile, forNode) {
  const { build } = await import('vite');
  const warnings = [];
  const warn = (message) => warnings.push(message);
  const customLogger = { info() {}, warn, warnOnce: warn, error: warn, clearScreen() {}, hasErrorLogged: () => false };
  await build({
    configFile: false,
    root: join(entry, '..'),
    customLogger,
    logLevel: 'warn',
    ...(forNode ? { ssr: { noExternal: true } } : {}),
    build: {
      ...(forNode ? { ssr: entry } : { lib: { entry, formats: ['es'], fileName: () => outfile.split('/').at(-1) } }),
      outDir: join(outfile, '..'),
      emptyOutDir: false,
      rolldownOptions: { output: { entryFileNames: outfile.split('/').at(-1), codeSplitting: false } },
    },
  });
  // A module of Node in a page is a stub that throws when it is used, and a warning.
  const stubs = warnings.filter((message) => /externalized for browser/.test(message));
  if (stubs.length > 0) throw new Error(stubs.join('\n'));
  return warnings;
}

async function rollup(entry, outfile, forNode) {
  const [{ rollup: bundle }, { nodeResolve }, { default: commonjs }] = await Promise.all([
    import('rollup'),
    import('@rollup/plugin-node-resolve'),
    import('@rollup/plugin-commonjs'),
  ]);
  const warnings = [];
  const built = await bundle({
    input: entry,
    external: forNode ? NODE : [],
    plugins: [nodeResolve({ browser: !forNode, preferBuiltins: forNode }), commonjs()],
    onwarn: (warning) => warnings.push(warning.message),
  });
  await built.write({ file: outfile, format: 'es', inlineDynamicImports: true });
  await built.close();
  const missing = warnings.filter((message) => /could not be resolved|is imported by/.test(message));
  if (missing.length > 0) throw new Error(missing.join('\n'));
  // Circles of imports inside TensorFlow.js are its own; `this` stands in a helper of TypeScript, which asks whether it is there.
  return warnings.filter((message) => !/[Cc]ircular dependency|has been rewritten/.test(message));
}
