/* A sound card with one sample rate or one sample format: preloaded by virtual_microphone.py.
 *
 * The pulse plugin of ALSA converts from any, which a card does not; here all but ONE_RATE and
 * ONE_FORMAT (a number from ALSA's asoundlib.h) are refused where a driver refuses them, when
 * hardware parameters are tested and set. */
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>

static int refused(const char *variable, int asked)
{
    const char *only = getenv(variable);
    return only && asked != atoi(only);
}

/* PyAudio loads ALSA for itself alone, where RTLD_NEXT does not look. */
static void *alsa(const char *name)
{
    return dlsym(dlopen("libasound.so.2", RTLD_LAZY), name);
}

int snd_pcm_hw_params_set_rate_near(void *pcm, void *params, unsigned int *rate, int *dir)
{
    int (*real)(void *, void *, unsigned int *, int *) = alsa(__func__);
    return refused("ONE_RATE", (int)*rate) ? -EINVAL : real(pcm, params, rate, dir);
}

int snd_pcm_hw_params_set_rate(void *pcm, void *params, unsigned int rate, int dir)
{
    int (*real)(void *, void *, unsigned int, int) = alsa(__func__);
    return refused("ONE_RATE", (int)rate) ? -EINVAL : real(pcm, params, rate, dir);
}

int snd_pcm_hw_params_test_format(void *pcm, void *params, int format)
{
    int (*real)(void *, void *, int) = alsa(__func__);
    return refused("ONE_FORMAT", format) ? -EINVAL : real(pcm, params, format);
}

int snd_pcm_hw_params_set_format(void *pcm, void *params, int format)
{
    int (*real)(void *, void *, int) = alsa(__func__);
    return refused("ONE_FORMAT", format) ? -EINVAL : real(pcm, params, format);
}
