import * as vscode from 'vscode';
import type { Line } from './text.ts';

/** Tree shows lines that come from elsewhere. */
export class Tree implements vscode.TreeDataProvider<Line> {
	readonly #lines: () => Line[];
	readonly #changed = new vscode.EventEmitter<void>();
	readonly onDidChangeTreeData = this.#changed.event;

	constructor(lines: () => Line[]) {
		this.#lines = lines;
	}

	redraw(): void {
		this.#changed.fire();
	}

	getChildren(line?: Line): Line[] {
		return line ? line.children : this.#lines();
	}

	getTreeItem(line: Line): vscode.TreeItem {
		const item = new vscode.TreeItem(
			line.label,
			line.children.length > 0
				? vscode.TreeItemCollapsibleState.Collapsed
				: vscode.TreeItemCollapsibleState.None
		);
		item.id = line.id;
		item.description = line.description;
		item.tooltip = `${line.label}\n${line.description}`;
		item.iconPath = new vscode.ThemeIcon(
			line.icon,
			line.color ? new vscode.ThemeColor(line.color) : undefined
		);
		item.contextValue = line.path ? line.id.split('/', 1)[0] : 'detail';
		item.accessibilityInformation = { label: `${line.label}, ${line.description}` };
		return item;
	}
}
