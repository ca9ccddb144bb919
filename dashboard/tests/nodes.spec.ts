import { node } from './fixture/objects';
import { expect, test } from './fixture/test';

test('the filter searches hardware and labels; "/" leads to it and Esc empties it', async ({
	page
}) => {
	await page.goto('/nodes');
	await expect(page.getByRole('row')).toHaveCount(9);
	await page.keyboard.press('/');
	const filter = page.getByRole('searchbox', { name: 'Filter nodes' });
	await expect(filter).toBeFocused();
	await page.keyboard.type('a6000 room=lab');
	await expect(page.getByRole('row')).toHaveCount(2);
	await expect(page.getByRole('row').nth(1)).toContainText('draco-3');
	await expect(page.getByText('1 of 8 nodes')).toBeVisible();
	await page.keyboard.press('Escape');
	await expect(filter).toHaveValue('');
	await page.keyboard.type('no such thing');
	await expect(page.getByRole('heading', { name: 'No node matches' })).toBeVisible();
	await page.getByRole('button', { name: 'Show all nodes' }).click();
	await expect(page.getByRole('row')).toHaveCount(9);
});

test('nodes are sorted by load, and the offline ones hidden', async ({ page }) => {
	await page.goto('/nodes');
	await page.getByLabel('Sort by').selectOption('cpu');
	await expect(page.getByRole('row').nth(1)).toContainText('borealis-5');
	await expect(page.getByRole('row').last()).toContainText('draco-7');
	await page.getByLabel('Show offline').uncheck();
	await expect(page.getByRole('row').filter({ hasText: 'draco-7' })).toHaveCount(0);
});

test('draining asks first; Esc keeps the node as it is', async ({ page, orchestrator }) => {
	await page.goto('/nodes/node-0003');
	await page.getByRole('button', { name: 'Drain draco-3' }).click();
	const dialog = page.getByRole('dialog', { name: 'Drain draco-3?' });
	await expect(dialog.getByRole('button', { name: 'Keep' })).toBeFocused();
	await page.keyboard.press('Escape');
	await expect(dialog).toBeHidden();
	expect(orchestrator.calls).toEqual([]);

	await page.getByRole('button', { name: 'Drain draco-3' }).click();
	await dialog.getByRole('button', { name: 'Drain' }).click();
	await expect(page.locator('#main header').getByText('draining')).toBeVisible();
	expect(orchestrator.calls).toEqual([
		{ method: 'POST', path: '/api/nodes/node-0003:drain', body: {} }
	]);
	await page.getByRole('button', { name: 'Undrain draco-3' }).click();
	await expect(page.locator('#main header').getByText('online')).toBeVisible();
});

test('draining says what becomes of the jobs', async ({ page, orchestrator }) => {
	await page.goto('/nodes/node-0003');
	await page.getByRole('button', { name: 'Drain draco-3' }).click();
	const dialog = page.getByRole('dialog', { name: 'Drain draco-3?' });
	await dialog.getByLabel('Deadline').fill('soon');
	await dialog.getByRole('button', { name: 'Drain' }).click();
	await expect(dialog.getByText('use a time such as 90s, 10m or 1h30m')).toBeVisible();
	expect(orchestrator.calls).toEqual([]);
	await dialog.getByLabel('Deadline').fill('30m');
	await dialog.getByLabel('Reason').fill('new disk');
	await dialog.getByLabel('Maintenance').check();
	await dialog.getByRole('button', { name: 'Drain' }).click();
	await expect(page.locator('#main header').getByText('maintenance')).toBeVisible();
	await expect(page.getByText('new disk')).toBeVisible();
	expect(orchestrator.calls).toEqual([
		{
			method: 'POST',
			path: '/api/nodes/node-0003:drain',
			body: { deadline: '1800s', reason: 'new disk', maintenance: true }
		}
	]);
});

test('a node is cordoned, labelled and tainted', async ({ page, orchestrator }) => {
	await page.goto('/nodes/node-0003');
	await page.getByRole('button', { name: 'Cordon', exact: true }).click();
	await expect(page.locator('#main header').getByText('cordoned')).toBeVisible();
	await page.getByRole('button', { name: 'Uncordon' }).click();
	await page.getByLabel('New label').fill('disk=ssd');
	await page.getByRole('button', { name: 'Add label' }).click();
	await expect(page.getByRole('button', { name: 'Remove the label disk=ssd' })).toBeVisible();
	// Those of its node agent are not to be taken off here.
	await expect(page.getByRole('button', { name: 'Remove the label room=lab' })).toHaveCount(0);
	await page.getByLabel('New taint').fill('gpu-only');
	await page.getByRole('button', { name: 'Add taint' }).click();
	await page.getByRole('button', { name: 'Remove the taint gpu-only' }).click();
	await expect(page.getByRole('button', { name: 'Remove the taint gpu-only' })).toHaveCount(0);
	expect(orchestrator.calls.map(({ path }) => path.replace('/api/nodes/node-0003', ''))).toEqual([
		':cordon',
		':uncordon',
		'',
		':taint',
		':untaint'
	]);
});

test('a pause of rescheduling is told on every page and can be ended', async ({
	page,
	orchestrator
}) => {
	await page.goto('/jobs');
	await expect(page.getByRole('heading', { name: 'Jobs' }).first()).toBeVisible();
	orchestrator.putPause({
		since: new Date().toISOString(),
		reason: '6 of 8 nodes went silent within a minute, which looks like a fault of the network',
		silentNodes: 6,
		keptJobs: 2
	});
	const alarm = page.getByRole('alert').filter({ hasText: 'Rescheduling is paused' });
	await expect(alarm).toContainText('6 of 8 nodes went silent within a minute');
	await expect(alarm).toContainText('2 jobs');
	await alarm.getByRole('button', { name: 'Resume now' }).click();
	await page.getByRole('dialog').getByRole('button', { name: 'Resume' }).click();
	await expect(alarm).toHaveCount(0);
	expect(orchestrator.calls.at(-1)?.path).toBe('/api/cluster:resume');
});

test('a node that is gone shows no usage as if it were of now, and can be forgotten', async ({
	page,
	orchestrator
}) => {
	await page.goto('/nodes/node-0007');
	await expect(page.getByRole('heading', { name: 'draco-7' })).toBeVisible();
	await expect(page.getByRole('region', { name: 'Usage' })).toHaveCount(0);
	await page.getByRole('button', { name: 'Forget draco-7' }).click();
	await page.getByRole('dialog').getByRole('button', { name: 'Forget' }).click();
	await expect(page).toHaveURL(/\/nodes$/);
	expect(orchestrator.nodes.has('node-0007')).toBe(false);
	await expect(page.getByRole('row').filter({ hasText: 'draco-7' })).toHaveCount(0);
});

test('the page of a node has all of its hardware, software and jobs', async ({
	page,
	orchestrator
}) => {
	orchestrator.putNode(
		node(3, {
			capabilities: {
				...node(3).capabilities,
				engines: [
					{
						name: 'ollama',
						version: '0.6.5',
						endpoint: 'http://127.0.0.1:11434',
						models: ['llama3.2:1b']
					}
				]
			}
		})
	);
	await page.goto('/nodes/node-0003');
	for (const text of [
		'8 physical, 16 logical',
		'128 GiB',
		'NVIDIA RTX A6000',
		'nvidia driver 550.127.05',
		'20 / 48 GiB',
		'6.1.0-37-amd64',
		'http://127.0.0.1:11434',
		'llama3.2:1b',
		'room=lab'
	]) {
		await expect(page.getByText(text, { exact: true }).first()).toBeVisible();
	}
	await expect(page.getByRole('table', { name: 'Jobs on draco-3' }).getByRole('row')).toHaveCount(
		4
	);
});

test('an unknown node says so', async ({ page }) => {
	await page.goto('/nodes/nowhere');
	await expect(page.getByText('The orchestrator knows no node “nowhere”')).toBeVisible();
});
