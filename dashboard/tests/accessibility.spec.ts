// Everybody can use it: axe finds nothing, the keyboard reaches everything, nothing is cut off on a
// small screen.
import AxeBuilder from '@axe-core/playwright';
import { expect, test } from './fixture/test';

const PATHS = [
	'/',
	'/nodes',
	'/nodes/node-0003',
	'/jobs',
	'/jobs/new',
	'/queues',
	'/models',
	'/models/llama3-2-3b',
	'/models/new',
	'/models/chat',
	'/settings',
	'/no/such/page'
];

for (const colorScheme of ['light', 'dark'] as const) {
	for (const width of [1280, 375]) {
		test(`axe finds nothing, ${colorScheme}, ${width} px, and nothing is cut off`, async ({
			page,
			orchestrator
		}) => {
			test.slow(); // axe, fifteen times
			await page.emulateMedia({ colorScheme, reducedMotion: 'reduce' });
			await page.setViewportSize({ width, height: 800 });
			const running = orchestrator.jobs[0]?.id ?? '';
			orchestrator.appendLog(
				running,
				{ stream: 'stdout', attempt: 1, line: '1', text: 'a line' },
				// Every colour must be readable in both themes.
				...Array.from({ length: 16 }, (_, color) => ({
					stream: 'stdout',
					attempt: 1,
					line: String(color + 2),
					text: `\u001b[38;5;${color}mcolour\u001b[0m \u001b[2;38;5;${color}mdim\u001b[0m \u001b[48;5;${color}mon it\u001b[0m \u001b[2mdim\u001b[0m`
				})),
				{ stream: 'stderr', attempt: 1, line: '0', note: true, text: '7 lines dropped' },
				{ stream: 'stderr', attempt: 1, line: '1', text: 'x'.repeat(500) }
			);
			for (const path of [
				...PATHS,
				`/jobs/${running}`,
				`/jobs/${orchestrator.jobs[1]?.id}`,
				`/jobs/${orchestrator.jobs[4]?.id}`
			]) {
				await page.goto(path);
				await expect(page.getByRole('heading', { level: 1 })).toBeVisible();
				await expect(
					page.getByText('Live', { exact: true }).locator('visible=true').first()
				).toBeVisible();
				const { violations } = await new AxeBuilder({ page }).analyze();
				const found = violations.flatMap(({ id, impact, nodes }) =>
					nodes.map((one) => `${id} (${impact}): ${one.html} ${one.any[0]?.message ?? ''}`)
				);
				expect(found, path).toEqual([]);
				const overflow = await page.evaluate(
					() => document.documentElement.scrollWidth - innerWidth
				);
				expect(overflow, `${path} is wider than the screen`).toBeLessThanOrEqual(0);
			}
		});
	}
}

test('axe finds nothing in a dialog, a toast and empty pages', async ({ page, orchestrator }) => {
	test.slow();
	await page.goto('/nodes/node-0003');
	await page.getByRole('button', { name: 'Drain draco-3' }).click();
	await expect(page.getByRole('dialog')).toBeVisible();
	expect((await new AxeBuilder({ page }).analyze()).violations).toEqual([]);
	await page.keyboard.press('Escape');
	await page.goto('/queues');
	await page.getByRole('button', { name: 'Edit night' }).click();
	await page.getByLabel('Weight').fill('0');
	await page.getByRole('button', { name: 'Save' }).click();
	await expect(page.getByLabel('Weight')).toHaveAttribute('aria-invalid', 'true');
	expect((await new AxeBuilder({ page }).analyze()).violations).toEqual([]);
	await page.goto('/jobs');
	await page.getByRole('checkbox', { name: 'Select all that are shown' }).check();
	await expect(page.getByRole('group', { name: 'Selected jobs' })).toBeVisible();
	expect((await new AxeBuilder({ page }).analyze()).violations).toEqual([]);
	await page.goto('/jobs/new');
	await page.getByText('More', { exact: true }).click();
	await page.getByRole('textbox', { name: 'Image' }).fill('alpine');
	await page.getByText('As a file or a request').click();
	expect((await new AxeBuilder({ page }).analyze()).violations).toEqual([]);
	orchestrator.load({ nodes: [], jobs: [], deployments: [] });
	for (const path of ['/', '/nodes', '/jobs', '/models', '/models/chat']) {
		await page.goto(path);
		await expect(page.getByRole('heading', { level: 2 }).first()).toBeVisible();
		expect((await new AxeBuilder({ page }).analyze()).violations, path).toEqual([]);
	}
});

test('the keyboard alone: skip link, navigation, a row, back', async ({ page }) => {
	await page.goto('/nodes');
	await expect(page.getByRole('row').nth(1)).toBeVisible();
	await page.keyboard.press('Tab');
	const skip = page.getByRole('link', { name: 'Skip to content' });
	await expect(skip).toBeFocused();
	await expect(skip).toBeInViewport();
	await page.keyboard.press('Enter');
	await expect(page.locator('#main')).toBeFocused();
	await page.keyboard.press('Tab');
	await expect(page.getByRole('searchbox')).toBeFocused();
	const outline = await page
		.getByRole('searchbox')
		.evaluate((element) => getComputedStyle(element).outlineStyle);
	expect(outline).not.toBe('none');
	await page.getByRole('link', { name: 'atlas-0' }).focus();
	await page.keyboard.press('Enter');
	await expect(page.getByRole('heading', { level: 1, name: 'atlas-0' })).toBeVisible();
});

test('empty pages teach the next command, which can be copied', async ({
	page,
	context,
	orchestrator
}) => {
	await context.grantPermissions(['clipboard-read', 'clipboard-write']);
	orchestrator.load({ nodes: [], jobs: [], deployments: [] });
	for (const [path, command] of [
		['/', 'node-agent --orchestrator localhost:50051'],
		['/nodes', 'node-agent --orchestrator localhost:50051'],
		['/jobs', 'orchion job submit'],
		['/models', 'orchion model deploy qwen3:0.6b']
	] as const) {
		await page.goto(path);
		await expect(page.getByText(command).first()).toBeVisible();
		await page.getByRole('button', { name: 'Copy command' }).first().click();
		expect(await page.evaluate(() => navigator.clipboard.readText())).toContain(command);
	}
});
