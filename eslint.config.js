// One lint for every TypeScript and Svelte file of the repository. A workspace that needs more
// has an eslint.config.js of its own which starts from this one (`import root from '../eslint.config.js'`).
import js from '@eslint/js';
import svelte from 'eslint-plugin-svelte';
import globals from 'globals';
import ts from 'typescript-eslint';

export default ts.config(
	{
		// Generated, built or fetched: not ours to fix.
		ignores: [
			'**/node_modules/',
			'bin/',
			'.orchion/',
			'shared/gen/**',
			'dashboard/build/',
			'dashboard/.svelte-kit/',
			'**/dist/',
			'**/out/',
			'**/test-results/',
			'**/playwright-report/'
		]
	},
	js.configs.recommended,
	ts.configs.recommended,
	svelte.configs['flat/recommended'],
	{
		languageOptions: { globals: { ...globals.browser, ...globals.node } },
		rules: {
			// The type checker knows undefined names better than the linter does (and knows types).
			'no-undef': 'off',
			eqeqeq: ['error', 'always', { null: 'ignore' }],
			'@typescript-eslint/consistent-type-imports': 'error',
			'@typescript-eslint/no-unused-vars': [
				'error',
				{ argsIgnorePattern: '^_', varsIgnorePattern: '^_' }
			]
		}
	},
	{
		files: ['**/*.svelte', '**/*.svelte.ts', '**/*.svelte.js'],
		languageOptions: { parserOptions: { parser: ts.parser, extraFileExtensions: ['.svelte'] } }
	},
	{
		// The extension host loads CommonJS.
		files: ['vscode-extension/**/*.{js,cjs}'],
		rules: { '@typescript-eslint/no-require-imports': 'off' }
	}
);
