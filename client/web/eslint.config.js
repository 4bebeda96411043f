// Rules for the operator page. The page installs nothing, so the rule set is taken from beside the
// ESLint that runs. Names that do not exist are found by `tsc`, which knows the browser's.
import { createRequire } from 'node:module';
import process from 'node:process';

const js = createRequire(process.argv[1])('@eslint/js');

export default [
  { ignores: ['vendor/**'] },
  js.configs.recommended,
  {
    languageOptions: { ecmaVersion: 2024, sourceType: 'module' },
    linterOptions: { reportUnusedDisableDirectives: 'error' },
    rules: {
      'no-undef': 'off',
      curly: ['error', 'multi-line'],
      eqeqeq: 'error',
      'no-console': 'error',
      'no-unused-vars': ['error', { argsIgnorePattern: '^_', varsIgnorePattern: '^_' }],
      'no-eval': 'error',
      'no-implied-eval': 'error',
      'no-new-func': 'error',
      'no-var': 'error',
      'prefer-const': 'error',
    },
  },
];
