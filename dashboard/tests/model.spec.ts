// The page of one deployment.
import { expectGoodLooks } from './fixture/looks';
import { expect, test } from './fixture/test';

const line = (number: number, text: string, stream = 'stdout') => ({
	stream,
	line: String(number),
	time: '2026-01-01T10:00:00Z',
	text
});

test('the engine’s log is followed, replica by replica, searched and paused', async ({
	page,
	orchestrator
}) => {
	const pulling = orchestrator.deployments.get('llama3-2-3b');
	orchestrator.appendLog(
		'llama3-2-3b/a',
		line(1, 'llama runner started'),
		line(2, 'loaded', 'stderr')
	);
	orchestrator.appendLog('llama3-2-3b/b', line(1, 'pulling manifest'));
	await page.goto('/models/llama3-2-3b');
	const log = page.getByRole('log', { name: 'Log of the engine' });
	await expect(log).toContainText('llama runner started');
	orchestrator.appendLog('llama3-2-3b/a', line(3, 'POST /v1/chat/completions'));
	await expect(log).toContainText('POST /v1/chat/completions');
	await expect(page.getByRole('link', { name: 'Download' })).toHaveAttribute(
		'href',
		'/api/deployments/llama3-2-3b/logs?replicaId=a'
	);
	await page.getByRole('searchbox').fill('POST');
	await expect(page.getByText('1 line', { exact: true })).toBeVisible();
	await page.getByRole('button', { name: 'Pause' }).click();
	orchestrator.appendLog('llama3-2-3b/a', line(4, 'unseen'));
	await expect(page.getByText('paused, 1 new line')).toBeVisible();
	await expect(log).not.toContainText('unseen');
	// What else changes does not read the log anew.
	orchestrator.putDeployment({ ...pulling, reason: 'still pulling' });
	await expect(page.getByText('still pulling')).toBeVisible();
	await expect(page.getByText('paused, 1 new line')).toBeVisible();
	await page.getByRole('combobox', { name: /^Replica/ }).selectOption('b');
	await expect(log).toContainText('pulling manifest');
	await expect(log).not.toContainText('llama runner started');
});

test('a log that has ended is read on when its engine is started again', async ({
	page,
	orchestrator
}) => {
	const one = orchestrator.deployments.get('qwen3-0-6b');
	orchestrator.appendLog('qwen3-0-6b/qwen3-0-6b-r1', line(1, 'first start'));
	await page.goto('/models/qwen3-0-6b');
	const log = page.getByRole('log', { name: 'Log of the engine' });
	await expect(log).toContainText('first start');
	orchestrator.endLog('qwen3-0-6b/qwen3-0-6b-r1');
	await expect(page.getByText('complete', { exact: true })).toBeVisible();
	orchestrator.logs.set('qwen3-0-6b/qwen3-0-6b-r1', [line(1, 'second start')]);
	orchestrator.putDeployment({
		...one,
		replicas: one?.replicas?.map((replica) => ({ ...replica, state: 'REPLICA_STATE_LOADING' }))
	});
	await expect(log).toContainText('second start');
	await expect(log).not.toContainText('first start');
});

test('how many replicas there are is said in three ways', async ({ page, orchestrator }) => {
	await page.goto('/models/qwen3-0-6b');
	await expect(page.getByText('Ollama serves it with 1 replica.')).toBeVisible();
	await page.getByRole('button', { name: 'Change how many' }).focus();
	await page.keyboard.press('Enter');
	await expect(page.getByRole('radio', { name: 'Always so many' })).toBeFocused();
	await page.keyboard.press('ArrowDown');
	await page.getByLabel('At least').fill('4');
	await page.getByLabel('At most').fill('2');
	await page.keyboard.press('Enter');
	await expect(page.getByLabel('At most')).toBeFocused();
	await expect(page.getByText('use at least the 4 that there always are')).toBeVisible();
	await expectGoodLooks(page, 'model-scale');
	expect(orchestrator.calls).toEqual([]);
	await page.getByLabel('At least').fill('0');
	await page.keyboard.press('Enter');
	await expect(page.getByText('with 0 to 2 replicas, as many as are asked for.')).toBeVisible();
	await expect(page.getByRole('button', { name: 'Change how many' })).toBeFocused();
	await expect(page.getByRole('button', { name: 'One replica more' })).toHaveCount(0);
	await page.getByRole('button', { name: 'Change how many' }).click();
	await page.getByRole('radio', { name: 'One on each node that fits' }).check();
	await page.getByRole('button', { name: 'Save' }).click();
	await expect(page.getByText('with one replica on each node that fits.')).toBeVisible();
	expect(orchestrator.calls.map(({ body }) => body)).toEqual([
		{ spec: { minReplicas: 0, maxReplicas: 2 } },
		{ spec: { everywhere: true } }
	]);
});

test('what the replicas have to do is told, and kept up', async ({ page, orchestrator }) => {
	const replica = (change: object) => ({
		replicas: [
			{
				model: 'qwen3:0.6b',
				nodeId: 'node-0000',
				replicaId: 'qwen3-0-6b-r1',
				maxInFlight: 8,
				...change
			}
		]
	});
	orchestrator.modelReplicas = replica({ inFlight: 2, tokensPerSecond: 41.2, firstToken: '0.18s' });
	orchestrator.modelQueues = {
		queues: [{ model: 'qwen3:0.6b', inFlight: 2, maxInFlight: 8, maxQueued: 256 }]
	};
	await page.goto('/models/qwen3-0-6b');
	const row = page.getByRole('list', { name: 'Replicas' }).getByRole('listitem');
	await expect(row).toContainText('2 of 8 requests · 41.2 tokens/s · first token after 180 ms');
	await expect(page.getByText('none waits, and 256 may.')).toBeVisible();
	orchestrator.modelReplicas = replica({ inFlight: 8 });
	orchestrator.modelQueues = {
		queues: [
			{
				model: 'qwen3:0.6b',
				inFlight: 8,
				maxInFlight: 8,
				maxQueued: 256,
				interactive: 3,
				oldest: '7s'
			}
		]
	};
	await expect(row).toContainText('8 of 8 requests');
	await expect(page.getByText('3 of 256 waiting; the first for 7.0 s.')).toBeVisible();
	orchestrator.appendLog('qwen3-0-6b/qwen3-0-6b-r1', line(1, 'llama runner started'));
	await expectGoodLooks(page, 'model-busy');
});
