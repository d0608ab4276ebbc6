// dist/react.js, vue.js, angular.js, and a page for each. (The client itself is built before: `npm run build` above here.)
import { build } from 'esbuild';
import { writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';

await build({
  absWorkingDir: dirname(fileURLToPath(import.meta.url)),
  entryPoints: { react: 'react/main.jsx', vue: 'vue/main.js', angular: 'angular/main.ts' },
  outdir: 'dist',
  bundle: true,
  minify: true,
  format: 'esm',
  target: 'es2022',
  jsx: 'automatic',
  define: {
    'process.env.NODE_ENV': '"production"',
    __VUE_OPTIONS_API__: 'false',
    __VUE_PROD_DEVTOOLS__: 'false',
    __VUE_PROD_HYDRATION_MISMATCH_DETAILS__: 'false',
  },
  tsconfigRaw: { compilerOptions: { experimentalDecorators: true, useDefineForClassFields: false } },
  logLevel: 'warning',
});
for (const name of ['react', 'vue', 'angular']) {
  writeFileSync(new URL(`dist/${name}.html`, import.meta.url), `<!DOCTYPE html>
<meta charset="utf-8"><title>${name}</title><link rel="icon" href="data:,">
<div id="app"></div>
<script>window.realtimeUrl = new URLSearchParams(location.search).get('url') ?? undefined;</script>
<script type="module" src="${name}.js"></script>
`);
}
