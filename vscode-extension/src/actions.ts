/** What can be done with models in the tree. */
import type { Deployment } from '@orchion/api';
import * as vscode from 'vscode';
import type { Client } from './client.ts';
import {
	clients,
	endpointSettings,
	engines,
	scalePrompt,
	wrongModel,
	wrongReplicas
} from './models.ts';
import { deploymentOf, type Line } from './text.ts';

/** What the actions work on; both change with the orchestrator's address. */
export interface Context {
	client: Client;
	deployments: ReadonlyMap<string, Deployment>;
}

/** The commands about models. context is asked each time. */
export function modelCommands(context: () => Context): vscode.Disposable[] {
	const command = (id: string, run: (line?: Line) => Promise<void>): vscode.Disposable =>
		vscode.commands.registerCommand(id, async (line?: Line) => {
			try {
				await run(line);
			} catch (error) {
				void vscode.window.showErrorMessage(error instanceof Error ? error.message : String(error));
			}
		});
	return [
		command('orchion.deployModel', () => deploy(context())),
		command('orchion.scaleModel', (line) => scale(context(), line)),
		command('orchion.removeModel', (line) => remove(context(), line)),
		command('orchion.copyEndpoint', (line) => copyEndpoint(context(), line))
	];
}

async function deploy({ client }: Context): Promise<void> {
	const engine = await vscode.window.showQuickPick(engines, {
		title: 'Which engine is to serve the model?',
		matchOnDetail: true
	});
	const model =
		engine &&
		(await vscode.window.showInputBox({
			title: `Which model is ${engine.label} to serve?`,
			placeHolder: engine.example,
			validateInput: wrongModel
		}));
	if (model) {
		const deployed = await client.deploy(model.trim(), engine.engine);
		vscode.window.setStatusBarMessage(`Deployed ${deployed.name}`, 3000);
	}
}

async function scale({ client, deployments }: Context, line?: Line): Promise<void> {
	const deployment = await choose(deployments, line, 'Which model is to be scaled?');
	const replicas =
		deployment &&
		(await vscode.window.showInputBox({
			title: `Scale ${deployment.name}`,
			prompt: scalePrompt(deployment),
			value: String(deployment.wantedReplicas ?? deployment.spec?.replicas ?? 0),
			validateInput: wrongReplicas
		}));
	if (replicas) {
		await client.scale(deployment.name ?? '', Number(replicas));
		vscode.window.setStatusBarMessage(`Scaled ${deployment.name} to ${Number(replicas)}`, 3000);
	}
}

async function remove({ client, deployments }: Context, line?: Line): Promise<void> {
	const deployment = await choose(deployments, line, 'Which model is to be removed?');
	const name = deployment?.name ?? '';
	const yes = 'Remove';
	const answer =
		name &&
		(await vscode.window.showWarningMessage(
			`Remove the deployment ${name}?`,
			{ modal: true, detail: 'Its replicas are stopped; requests for the model fail then.' },
			yes
		));
	if (answer === yes) {
		await client.remove(name);
		vscode.window.setStatusBarMessage(`Removed ${name}`, 3000);
	}
}

async function copyEndpoint({ client, deployments }: Context, line?: Line): Promise<void> {
	const deployment = await choose(deployments, line, 'Which model is to be called?');
	const kind =
		deployment &&
		(await vscode.window.showQuickPick(clients, { title: 'Settings for clients of which API?' }));
	if (kind) {
		const model = deployment.spec?.model || deployment.name || '';
		await vscode.env.clipboard.writeText(endpointSettings(client.base, model, kind.label));
		vscode.window.setStatusBarMessage(`Copied settings for ${model}`, 3000);
	}
}

/** The deployment of a line, or one that is chosen where there is no line. */
async function choose(
	deployments: ReadonlyMap<string, Deployment>,
	line: Line | undefined,
	title: string
): Promise<Deployment | undefined> {
	if (line) {
		return deployments.get(deploymentOf(line));
	}
	if (deployments.size === 0) {
		throw new Error('No model is deployed.');
	}
	const items = [...deployments.values()].map((deployment) => ({
		label: deployment.name ?? '',
		description: deployment.spec?.model,
		deployment
	}));
	return (await vscode.window.showQuickPick(items, { title }))?.deployment;
}
