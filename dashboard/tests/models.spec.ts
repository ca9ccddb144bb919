import { expectGoodLooks } from './fixture/looks';
import { deployment } from './fixture/objects';
import { expect, test } from './fixture/test';

const GiB = 1024 ** 3;

test('a pull shows percent and bytes as it goes on', async ({ page, orchestrator }) => {
	await page.goto('/models');
	const bar = page.getByRole('progressbar', { name: 'Pull' });
	await expect(bar).toHaveAttribute('aria-valuetext', '38 %, 0.75 / 2 GiB');
	const pulling = (completed: number) =>
		deployment('llama3-2-3b', {
			spec: { model: 'llama3.2:3b', engine: 'ENGINE_OLLAMA', replicas: 1 },
			state: 'DEPLOYMENT_STATE_PENDING',
			replicas: [
				{
					id: 'b',
					nodeId: 'node-0002',
					state: 'REPLICA_STATE_PULLING',
					progressPercent: completed * 50,
					completedBytes: String(completed * GiB),
					totalBytes: String(2 * GiB)
				}
			]
		});
	orchestrator.putDeployment(pulling(1.5));
	await expect(bar).toHaveAttribute('aria-valuetext', '75 %, 1.5 / 2 GiB');
	orchestrator.putDeployment(
		deployment('llama3-2-3b', {
			spec: { model: 'llama3.2:3b', engine: 'ENGINE_OLLAMA', replicas: 1 }
		})
	);
	await expect(bar).toHaveCount(0);
});

test('a model is deployed from the form', async ({ page, orchestrator }) => {
	await page.goto('/models/new');
	await page.getByRole('button', { name: 'Deploy model' }).click();
	await expect(page.getByText('name the model, for example qwen3:0.6b')).toBeVisible();
	await page.getByRole('textbox', { name: 'Model' }).fill('gemma3:1b');
	await page.getByLabel('Replicas').fill('2');
	await page.getByText('Advanced').click();
	await page.getByLabel('Engine arguments').fill("--flag 'two words'");
	await page.getByRole('button', { name: 'Deploy model' }).click();
	await expect(page.getByRole('heading', { level: 1, name: 'gemma3:1b' })).toBeVisible();
	expect(orchestrator.calls).toEqual([
		{
			method: 'POST',
			path: '/api/deployments',
			body: {
				spec: {
					model: 'gemma3:1b',
					engine: 'ENGINE_OLLAMA',
					replicas: 2,
					args: ['--flag', 'two words']
				}
			}
		}
	]);
});

test('replicas are scaled, and deleting asks first', async ({ page, orchestrator }) => {
	await page.goto('/models/qwen3-0-6b');
	await page.getByRole('button', { name: 'One replica more' }).click();
	await expect(page.getByText('1 of 2 replicas ready')).toBeVisible();
	await page.getByRole('button', { name: 'Delete' }).click();
	await page.getByRole('dialog').getByRole('button', { name: 'Keep' }).click();
	expect(orchestrator.deployments.has('qwen3-0-6b')).toBe(true);
	await page.getByRole('button', { name: 'Delete' }).click();
	await page.getByRole('dialog').getByRole('button', { name: 'Delete deployment' }).click();
	await expect(page.getByRole('heading', { level: 1, name: 'Models' })).toBeVisible();
	expect(orchestrator.calls.map(({ method, path }) => `${method} ${path}`)).toEqual([
		'PATCH /api/deployments/qwen3-0-6b',
		'DELETE /api/deployments/qwen3-0-6b'
	]);
	await expect(page.getByRole('link', { name: 'qwen3:0.6b' })).toHaveCount(0);
});

test('the code to copy names the gateway of this orchestrator', async ({
	page,
	context,
	orchestrator
}) => {
	await context.grantPermissions(['clipboard-read', 'clipboard-write']);
	await page.goto('/models/qwen3-0-6b');
	await page.getByRole('button', { name: 'Environment' }).click();
	await page.getByRole('button', { name: 'Copy code' }).click();
	await expect(page.getByText('Copied')).toBeAttached();
	expect(await page.evaluate(() => navigator.clipboard.readText())).toBe(
		`export OPENAI_BASE_URL=${orchestrator.url}/v1\nexport OPENAI_API_KEY=unused`
	);
});

test('a chat streams the answer of the gateway', async ({ page, context, orchestrator }) => {
	await context.grantPermissions(['clipboard-read', 'clipboard-write']);
	await page.goto('/models/chat');
	await expect(page.getByLabel('Model')).toHaveValue('qwen3:0.6b');
	await page.getByRole('textbox', { name: 'Message' }).fill('Say hello');
	await page.keyboard.press('Enter');
	await expect(page.getByText('Hello from the fixture.')).toBeVisible();
	await page.getByRole('textbox', { name: 'Message' }).fill('Again');
	await page.getByRole('button', { name: 'Send' }).click();
	await expect(page.getByText('Hello from the fixture.')).toHaveCount(2);
	await expect(
		page.getByText(': the soonest of 2 replicas, with 0 requests in flight')
	).toHaveCount(2);
	await expect(page.getByRole('link', { name: 'node-0003' }).last()).toHaveAttribute(
		'href',
		'/nodes/node-0003'
	);
	expect(orchestrator.calls[1]?.body).toEqual({
		model: 'qwen3:0.6b',
		messages: [
			{ role: 'user', content: 'Say hello' },
			{ role: 'assistant', content: 'Hello from the fixture.' },
			{ role: 'user', content: 'Again' }
		],
		stream: true,
		stream_options: { include_usage: true }
	});
	await page.getByRole('button', { name: 'Copy as curl' }).last().click();
	await expect(page.getByText('Copied')).toBeAttached();
	expect(await page.evaluate(() => navigator.clipboard.readText())).toBe(
		`curl ${orchestrator.url}/v1/chat/completions \\\n  -H 'Content-Type: application/json' \\\n  -d '${JSON.stringify(orchestrator.calls[1]?.body)}'`
	);
});

test('the form says where a model fits, before it is deployed', async ({ page }) => {
	await page.goto('/models/new');
	const ask = page.getByRole('button', { name: 'Where does it fit?' });
	await expect(ask).toBeDisabled();
	await page.getByRole('textbox', { name: 'Model' }).fill('llama3.1:8b');
	await ask.click();
	await expect(
		page.getByText('It needs 5.8 GiB, with 8,030 million parameters in Q4_K_M, for 4,096 tokens.')
	).toBeVisible();
	const nodes = page.getByRole('list', { name: 'Where llama3.1:8b fits' }).getByRole('listitem');
	await expect(nodes).toHaveCount(4);
	await expect(nodes.nth(0)).toContainText('on GPU');
	await expect(nodes.nth(0)).toContainText('48 tokens/s');
	await expect(nodes.nth(3)).toContainText('4.8 GiB are missing');
	await expectGoodLooks(page, 'deploy-fit');
	// Of another model nothing is known yet.
	await page.getByRole('textbox', { name: 'Model' }).fill('llama3.1:70b');
	await expect(nodes).toHaveCount(0);
});

test('a chat takes parameters, and says which of them is wrong', async ({ page, orchestrator }) => {
	await page.goto('/models/chat');
	await page.getByText('Parameters').click();
	await page.getByLabel('System prompt').fill('You are brief.');
	await page.getByLabel('Temperature').fill('3');
	await page.getByLabel('Tokens at most').fill('20');
	await page.getByRole('textbox', { name: 'Message' }).fill('Say hello');
	await page.keyboard.press('Enter');
	expect(
		await page.getByLabel('Temperature').evaluate((one: HTMLInputElement) => one.validity.valid)
	).toBe(false);
	expect(orchestrator.calls).toEqual([]);
	await page.getByLabel('Temperature').fill('0.2');
	await page.getByRole('button', { name: 'Send' }).click();
	await expect(page.getByText('Hello from the fixture.')).toBeVisible();
	expect(orchestrator.calls[0]?.body).toEqual({
		model: 'qwen3:0.6b',
		messages: [
			{ role: 'system', content: 'You are brief.' },
			{ role: 'user', content: 'Say hello' }
		],
		temperature: 0.2,
		max_tokens: 20,
		stream: true,
		stream_options: { include_usage: true }
	});
	await expectGoodLooks(page, 'chat-answered');
});
