// Checks the syntax of PowerShell scripts without PowerShell, so that a machine
// that has none still catches a broken one:
//
//   node --liftoff-only check-ps1.mjs FILE.ps1...
//
// Exits 1 when a file has a syntax error. The grammar is that of Windows
// PowerShell 5.1: the operators ?:, ??, and ?. are errors, as they are there.
// (--liftoff-only: the optimising WebAssembly compiler takes half a minute for
// this grammar.)
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { Language, Parser } from 'web-tree-sitter';

const require = createRequire(import.meta.url);
await Parser.init();
const parser = new Parser();
parser.setLanguage(
	await Language.load(require.resolve('tree-sitter-powershell/tree-sitter-powershell.wasm'))
);

const files = process.argv.slice(2);
if (files.length === 0) {
	console.error('check-ps1: name the files to check');
	process.exit(2);
}
let errors = 0;
for (const file of files) {
	const source = readFileSync(file, 'utf8').replace(/^\uFEFF/, '');
	const tree = parser.parse(source.endsWith('\n') ? source : source + '\n');
	report(file, tree.rootNode);
	tree.delete();
}
console.log(`${files.length} PowerShell files, ${errors} syntax errors`);
process.exit(errors > 0 ? 1 : 0);

function report(file, node) {
	if (node.isError || node.isMissing) {
		const what = node.isMissing
			? `missing ${node.type}`
			: `syntax error near ${JSON.stringify(node.text.slice(0, 40))}`;
		console.log(`${file}:${node.startPosition.row + 1}:${node.startPosition.column + 1}: ${what}`);
		errors++;
	} else if (node.hasError) {
		node.children.forEach((child) => report(file, child));
	}
}
