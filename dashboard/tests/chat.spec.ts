import { expect, test } from './fixture/test';
import { deployment } from './fixture/objects';

/** A promise and what keeps it. */
function gate(): { until: Promise<void>; open: () => void } {
	let open = () => {};
	const until = new Promise<void>((resolve) => (open = resolve));
	return { until, open };
}

test('a conversation that was ended while an answer came does not come back', async ({
	page,
	orchestrator
}) => {
	const { until, open } = gate();
	orchestrator.chatGoesOn = until;
	await page.goto('/models/chat');
	await page.getByRole('textbox', { name: 'Message' }).fill('Say hello');
	await page.keyboard.press('Enter');
	const turns = page.getByRole('list', { name: 'Conversation' }).getByRole('listitem');
	await expect(turns.last()).toContainText('Hello');
	await page.getByRole('button', { name: 'New conversation' }).click();
	open();
	await expect(page.getByRole('button', { name: 'Send' })).toBeVisible();
	await expect(turns).toHaveCount(0);
});

test('an answer keeps the name of the model that was asked', async ({ page, orchestrator }) => {
	orchestrator.putDeployment(
		deployment('gemma3-1b', { spec: { model: 'gemma3:1b', engine: 'ENGINE_OLLAMA' } })
	);
	await page.goto('/models/chat?model=qwen3:0.6b');
	await page.getByRole('textbox', { name: 'Message' }).fill('Say hello');
	await page.keyboard.press('Enter');
	await expect(page.getByText('Hello from the fixture.')).toBeVisible();
	await page.getByLabel('Model').selectOption('gemma3:1b');
	const answer = page.getByRole('list', { name: 'Conversation' }).getByRole('listitem').last();
	await expect(answer).toContainText('qwen3:0.6b');
	await expect(answer).not.toContainText('gemma3:1b');
});

test('a conversation stays when its model goes away', async ({ page, orchestrator }) => {
	orchestrator.load({
		nodes: [],
		jobs: [],
		deployments: [deployment('qwen3-0-6b')]
	});
	await page.goto('/models/chat');
	await page.getByRole('textbox', { name: 'Message' }).fill('Say hello');
	await page.keyboard.press('Enter');
	await expect(page.getByText('Hello from the fixture.')).toBeVisible();
	const reread = page.waitForResponse((one) => one.url().endsWith('/v1/models'));
	orchestrator.putDeployment(deployment('qwen3-0-6b', { state: 'DEPLOYMENT_STATE_FAILED' }));
	await reread;
	await expect(page.getByText('No model is served')).toBeVisible();
	await expect(page.getByText('Hello from the fixture.')).toBeVisible();
});

test('a model that a node’s own engine begins to serve can be chosen', async ({
	page,
	orchestrator
}) => {
	await page.goto('/models/chat');
	await expect(page.getByLabel('Model')).toHaveValue('qwen3:0.6b');
	const node = orchestrator.nodes.get('node-0001');
	orchestrator.putNode({
		...node,
		capabilities: {
			...node?.capabilities,
			engines: [{ name: 'ollama', endpoint: 'http://127.0.0.1:11434', models: ['phi4:14b'] }]
		}
	});
	await expect(page.getByLabel('Model').locator('option')).toContainText(['phi4:14b']);
});

test('who scrolls up to read is left there while an answer comes', async ({
	page,
	orchestrator
}) => {
	const first = gate();
	orchestrator.chatPieces = [`start\n\n${'line\n\n'.repeat(80)}`, 'the end'];
	orchestrator.chatGoesOn = first.until;
	await page.goto('/models/chat');
	await page.getByRole('textbox', { name: 'Message' }).fill('Much');
	await page.keyboard.press('Enter');
	await expect(page.getByText('start')).toBeAttached();
	await expect.poll(() => page.evaluate(() => scrollY)).toBeGreaterThan(500);
	await page.mouse.move(600, 300);
	await page.mouse.wheel(0, -100_000);
	await expect.poll(() => page.evaluate(() => scrollY)).toBe(0);
	first.open();
	await expect(page.getByText('the end')).toBeAttached();
	await expect(page.getByRole('button', { name: 'Send' })).toBeVisible();
	expect(await page.evaluate(() => scrollY)).toBe(0);
});

test('a wrong parameter is shown where it is, also when it was folded away', async ({ page }) => {
	await page.goto('/models/chat');
	await page.getByText('Parameters').click();
	await page.getByLabel('Temperature').fill('3');
	await page.getByText('Parameters').click();
	await expect(page.getByLabel('Temperature')).toBeHidden();
	await page.getByRole('textbox', { name: 'Message' }).fill('Say hello');
	await page.keyboard.press('Enter');
	await expect(page.getByLabel('Temperature')).toBeVisible();
});

test('after sending and after stopping the keyboard is where the next question goes', async ({
	page,
	orchestrator
}) => {
	const { until, open } = gate();
	orchestrator.chatGoesOn = until;
	await page.goto('/models/chat');
	const message = page.getByRole('textbox', { name: 'Message' });
	await message.fill('Say hello');
	await page.keyboard.press('Tab');
	await expect(page.getByRole('button', { name: 'Send' })).toBeFocused();
	await page.keyboard.press('Enter');
	await expect(message).toBeFocused();
	await page.keyboard.press('Tab');
	await expect(page.getByRole('button', { name: 'Stop' })).toBeFocused();
	await page.keyboard.press('Enter');
	await expect(page.getByText('stopped')).toBeVisible();
	await expect(message).toBeFocused();
	open();
});
