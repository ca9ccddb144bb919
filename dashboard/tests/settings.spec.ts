import { node } from './fixture/objects';
import { FixtureOrchestrator } from './fixture/orchestrator';
import { expect, test } from './fixture/test';

test('the theme is kept, and is there before the first paint', async ({ page }) => {
	await page.emulateMedia({ colorScheme: 'light' });
	await page.goto('/settings');
	await page.getByLabel('dark').check();
	await expect(page.locator('html')).toHaveAttribute('data-theme', 'dark');
	await page.goto('/nodes', { waitUntil: 'commit' });
	await expect(page.locator('html')).toHaveAttribute('data-theme', 'dark');
	await page.goto('/settings');
	await page.getByLabel('as the system').check();
	await expect(page.locator('html')).toHaveAttribute('data-theme', 'light');
	await page.emulateMedia({ colorScheme: 'dark' });
	await expect(page.locator('html')).toHaveAttribute('data-theme', 'dark');
});

test('where motion is unwanted a theme is there at once, not element by element', async ({
	page
}) => {
	await page.emulateMedia({ colorScheme: 'light', reducedMotion: 'reduce' });
	await page.goto('/');
	await expect(page.getByRole('heading', { level: 1 })).toBeVisible();
	const colours = await page.evaluate(() => {
		const ink = () =>
			[...document.querySelectorAll('header, header *')].map((one) => getComputedStyle(one).color);
		const light = ink();
		document.documentElement.dataset.theme = 'dark';
		return { light, dark: ink(), moving: document.getAnimations().length };
	});
	expect(colours.moving).toBe(0);
	for (const [index, colour] of colours.light.entries()) {
		expect(colours.dark[index]).not.toBe(colour);
	}
});

test.describe('another orchestrator', () => {
	test.use({ networkErrors: true });

	test('is tested, saved, used across reloads and left again', async ({ page, orchestrator }) => {
		const other = new FixtureOrchestrator();
		other.load({ nodes: [node(500, { hostname: 'elsewhere' })], jobs: [], deployments: [] });
		other.allowedOrigins = [orchestrator.url];
		await other.start();
		try {
			await page.goto('/settings');
			const address = page.getByLabel('Address');
			await address.fill('ftp://nowhere');
			await page.getByRole('button', { name: 'Save' }).click();
			await expect(page.getByText('use http:// or https://, not ftp://')).toBeVisible();
			await address.fill('127.0.0.1:1');
			await page.getByRole('button', { name: 'Test connection' }).click();
			await expect(page.getByText('cannot reach http://127.0.0.1:1')).toBeVisible();
			await address.fill(other.url);
			await page.getByRole('button', { name: 'Test connection' }).click();
			await expect(page.getByText(/Answers in \d+ ms: Orchion 0\.1\.0/)).toBeVisible();
			await page.getByRole('button', { name: 'Save' }).click();
			await page.getByRole('link', { name: 'Nodes', exact: true }).click();
			await expect(page.getByRole('link', { name: 'elsewhere' })).toBeVisible();
			await page.reload();
			await expect(page.getByRole('link', { name: 'elsewhere' })).toBeVisible();
			await expect.poll(() => orchestrator.watching).toBe(0);
			await page.getByRole('link', { name: 'Settings' }).click();
			await page.getByRole('button', { name: 'Use the default' }).click();
			await page.getByRole('link', { name: 'Nodes', exact: true }).click();
			await expect(page.getByRole('link', { name: 'atlas-0' })).toBeVisible();
		} finally {
			await other.stop();
		}
	});
});
