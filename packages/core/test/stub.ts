import { Backend, type Kernels, type KernelTensor } from '../src/index.ts';

export interface Stub {
  readonly backend: Backend;
  /** Buffers and saved states handed out and not yet given back. */
  readonly live: Set<object>;
  readonly calls: string[];
}

/** Kernels that compute nothing and remember what they gave out, so that ownership can be tested by itself. */
export function stub(
  name = 'stub',
  dtypes: readonly string[] = ['f32', 'i32'],
  replaced: Record<string, unknown> = {},
): Stub {
  const live = new Set<object>();
  const calls: string[] = [];
  const give = (extra: object = {}) => {
    const buffer = { ...extra };
    live.add(buffer);
    return buffer;
  };
  const back = (buffer: object) => {
    if (!live.delete(buffer)) throw new Error('freed twice');
  };
  const special: Record<string, unknown> = {
    name,
    device: 'nothing',
    dtypes: new Set(dtypes),
    free: back,
    freeSaved: back,
    read: async (x: KernelTensor) => new Float32Array(x.shape.reduce((a, b) => a * b, 1)),
    synchronize: async () => {},
    dispose: async () => live.clear(),
    copyInto: () => {},
    adamw: () => {},
    matmul: (...args: unknown[]) => (args[3] === null ? give() : (args[3] as KernelTensor).buffer),
    attention: (_: unknown, save: boolean) => ({ output: give(), saved: save ? give({ bytes: 100 }) : null }),
    attentionGrad: () => ({ dq: give(), dk: give(), dv: give(), dbias: null, dtau: null }),
    elasticSoftmaxGrad: () => ({ dscores: give(), dtau: null }),
    rmsNormGrad: () => ({ dx: give(), dweight: give() }),
    swigluGrad: () => ({ dgate: give(), dup: give() }),
    crossEntropy: () => ({ loss: give(), lse: give() }),
    ...replaced,
  };
  const kernels = new Proxy(special, {
    get(target, key: string) {
      const value = target[key];
      if (key === 'then' || (value !== undefined && typeof value !== 'function')) return value;
      return (...args: unknown[]) => {
        calls.push(key);
        return typeof value === 'function' ? value(...args) : give();
      };
    },
  });
  return { backend: new Backend(kernels as unknown as Kernels), live, calls };
}
