// Everybody can use it: the keyboard reaches everything, and an empty page says what to do. What
// axe has to say is asked in looks.spec.ts.
import { expect, test } from './fixture/test';

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
	orchestrator.schedules.clear();
	for (const [path, command] of [
		['/', 'node-agent --orchestrator localhost:50051'],
		['/nodes', 'node-agent --orchestrator localhost:50051'],
		['/jobs', 'orchion job submit'],
		['/schedules', 'orchion schedule apply nightly'],
		['/models', 'orchion model deploy qwen3:0.6b']
	] as const) {
		await page.goto(path);
		await expect(page.getByText(command).first()).toBeVisible();
		await page.getByRole('button', { name: 'Copy command' }).first().click();
		expect(await page.evaluate(() => navigator.clipboard.readText())).toContain(command);
	}
});
