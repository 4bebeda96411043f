// Rules for the browser tests and benchmarks.
import js from '@eslint/js';
import globals from 'globals';

export default [
  { ignores: ['.env/**', 'out/**'] },
  js.configs.recommended,
  {
    languageOptions: {
      ecmaVersion: 2024,
      sourceType: 'module',
      // Functions given to page.evaluate() run in the browser.
      globals: { ...globals.node, ...globals.browser },
    },
    linterOptions: { reportUnusedDisableDirectives: 'error' },
    rules: { eqeqeq: 'error', 'no-var': 'error', 'prefer-const': 'error' },
  },
];
