/* A sound card with one sample rate: preloaded by virtual_microphone.py.
 *
 * The pulse plugin of ALSA resamples to any rate, which a card does not; here all but ONE_RATE are
 * refused where a driver refuses them, when hardware parameters are set. */
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>

static int refused(unsigned int rate)
{
    const char *only = getenv("ONE_RATE");
    return only && rate != (unsigned int)atoi(only);
}

/* PyAudio loads ALSA for itself alone, where RTLD_NEXT does not look. */
static void *alsa(const char *name)
{
    return dlsym(dlopen("libasound.so.2", RTLD_LAZY), name);
}

int snd_pcm_hw_params_set_rate_near(void *pcm, void *params, unsigned int *rate, int *dir)
{
    int (*real)(void *, void *, unsigned int *, int *) = alsa(__func__);
    return refused(*rate) ? -EINVAL : real(pcm, params, rate, dir);
}

int snd_pcm_hw_params_set_rate(void *pcm, void *params, unsigned int rate, int dir)
{
    int (*real)(void *, void *, unsigned int, int) = alsa(__func__);
    return refused(rate) ? -EINVAL : real(pcm, params, rate, dir);
}
