/**
 * Orchion for VS Code: the nodes, jobs and models of an orchestrator as trees
 * that are always current.
 */
import * as vscode from 'vscode';
import { modelCommands } from './actions.ts';
import { Client } from './client.ts';
import { Store } from './store.ts';
import { deploymentLine, jobLine, nodeLines, type Line } from './text.ts';
import { Tree } from './tree.ts';

const defaultUrl = 'http://localhost:8080';

export function activate(context: vscode.ExtensionContext): void {
	let client: Client;
	let store: Store;
	const nodes = new Tree(() => nodeLines(store.nodes.values()));
	const jobs = new Tree(() => [...store.jobs.values()].reverse().map(jobLine));
	const models = new Tree(() => [...store.deployments.values()].map(deploymentLine));
	const views = [
		vscode.window.createTreeView('orchion.nodes', { treeDataProvider: nodes }),
		vscode.window.createTreeView('orchion.jobs', { treeDataProvider: jobs }),
		vscode.window.createTreeView('orchion.models', { treeDataProvider: models })
	] as const;

	const redraw = (): void => {
		void vscode.commands.executeCommand('setContext', 'orchion.state', store.state);
		// Not the view's message: that would take the welcome's place.
		views[0].description = store.state === 'unreachable' ? store.problem : undefined;
		for (const tree of [nodes, jobs, models]) {
			tree.redraw();
		}
	};
	const connect = (): void => {
		store?.stop();
		client = new Client(baseUrl());
		store = new Store(client, redraw);
		void store.run();
		redraw();
	};
	connect();

	context.subscriptions.push(
		...views,
		{ dispose: () => store.stop() },
		vscode.workspace.onDidChangeConfiguration((change) => {
			if (change.affectsConfiguration('orchion.url')) {
				connect();
			}
		}),
		vscode.commands.registerCommand('orchion.refresh', () => store.refresh()),
		vscode.commands.registerCommand('orchion.openDashboard', (line?: Line) =>
			vscode.env.openExternal(vscode.Uri.parse(baseUrl() + (line?.path ?? '/'), true))
		),
		vscode.commands.registerCommand('orchion.copyId', async (line: Line) => {
			const id = line.id.slice(line.id.indexOf('/') + 1);
			await vscode.env.clipboard.writeText(id);
			vscode.window.setStatusBarMessage(`Copied ${id}`, 3000);
		}),
		vscode.commands.registerCommand('orchion.setUrl', setUrl),
		...modelCommands(() => ({ client, deployments: store.deployments }))
	);
}

/** Where the orchestrator answers, without a slash at the end. */
function baseUrl(): string {
	const url = vscode.workspace.getConfiguration('orchion').get<string>('url')?.trim();
	return (url || defaultUrl).replace(/\/+$/, '');
}

async function setUrl(): Promise<void> {
	const url = await vscode.window.showInputBox({
		title: 'Where does the orchestrator answer?',
		value: baseUrl(),
		placeHolder: defaultUrl,
		validateInput: (text) => {
			try {
				const { protocol } = new URL(text);
				return /^https?:$/.test(protocol)
					? undefined
					: 'The address begins with http:// or https://';
			} catch {
				return `The address looks like ${defaultUrl}`;
			}
		}
	});
	if (url) {
		await vscode.workspace
			.getConfiguration('orchion')
			.update('url', url, vscode.ConfigurationTarget.Global);
	}
}
