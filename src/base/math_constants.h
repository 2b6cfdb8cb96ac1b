/* Made by scripts/math-constants, which says how; math.h reads them. */
#ifndef SG_BASE_MATH_CONSTANTS_H
#define SG_BASE_MATH_CONSTANTS_H

/* ln 2 in parts, of 41 bits and the rest */
#define SG_LN2_0 0x1.62e42fefa4000p-1
#define SG_LN2_1 -0x1.8432a1b0e2634p-43

#define SG_LOG2E       0x1.71547652b82fep+0
#define SG_TWO_OVER_PI 0x1.45f306dc9c883p-1

/* pi / 2 in parts, of 33, 33, 33 bits and the rest */
#define SG_PI_2_0 0x1.921fb54400000p+0
#define SG_PI_2_1 0x1.0b4611a600000p-34
#define SG_PI_2_2 0x1.3198a2e000000p-69
#define SG_PI_2_3 0x1.b839a252049c1p-104

/* pi / 2 in parts, of 53 bits and the rest */
#define SG_HALF_PI_0 0x1.921fb54442d18p+0
#define SG_HALF_PI_1 0x1.1a62633145c07p-54

#define SG_ERF_SLOPE 0x1.06eba8214db69p-3 /* 2 / sqrt(pi) - 1 */

/* (e^r - 1 - r - r^2 / 2) / r^3, on -0.346574 to 0.346574: off by 2^-60.31 */
#define SG_EXP_0 0x1.5555555555556p-3
#define SG_EXP_1 0x1.5555555555555p-5
#define SG_EXP_2 0x1.11111111109b5p-7
#define SG_EXP_3 0x1.6c16c16c167e2p-10
#define SG_EXP_4 0x1.a01a01a7c2efep-13
#define SG_EXP_5 0x1.a01a01a47a591p-16
#define SG_EXP_6 0x1.71de0db2f6b19p-19
#define SG_EXP_7 0x1.27e4e1f7222cbp-22
#define SG_EXP_8 0x1.af389ecfc4b9cp-26
#define SG_EXP_9 0x1.1f66d948a47d2p-29

/* (sin r / r - 1) / r^2 in r^2, on 0.0 to 0.61685: off by 2^-57.29 */
#define SG_SIN_0 -0x1.5555555555555p-3
#define SG_SIN_1 0x1.1111111111110p-7
#define SG_SIN_2 -0x1.a01a01a019938p-13
#define SG_SIN_3 0x1.71de3a546095bp-19
#define SG_SIN_4 -0x1.ae645412c560cp-26
#define SG_SIN_5 0x1.61217f0b800d5p-33
#define SG_SIN_6 -0x1.ab17d404de5b3p-41

/* (cos r - 1 + r^2 / 2) / r^4 in r^2, on 0.0 to 0.61685: off by 2^-60.0 */
#define SG_COS_0 0x1.5555555555555p-5
#define SG_COS_1 -0x1.6c16c16c16c16p-10
#define SG_COS_2 0x1.a01a01a019d0ap-16
#define SG_COS_3 -0x1.27e4fb7712d65p-22
#define SG_COS_4 0x1.1eed8deb97a97p-29
#define SG_COS_5 -0x1.9394ba0cd6ed5p-37
#define SG_COS_6 0x1.ab785b00b4646p-45

/* (2 atanh(s) / s - 2) / s^2 in s^2, on 0.0 to 0.0294373: off by 2^-60.7 */
#define SG_LOG_0 0x1.5555555555555p-1
#define SG_LOG_1 0x1.9999999999a38p-2
#define SG_LOG_2 0x1.2492492476cccp-2
#define SG_LOG_3 0x1.c71c720159177p-3
#define SG_LOG_4 0x1.745cf9048dd95p-3
#define SG_LOG_5 0x1.3b1c355a8f7a2p-3
#define SG_LOG_6 0x1.0fbe95d716020p-3
#define SG_LOG_7 0x1.0c039c49989c6p-3

/* (2 atanh(s) / s - 2 - 2/3 s^2) / s^4 in s^2, on 0.0 to 0.0105: off by 2^-69.48 */
#define SG_POW_0 0x1.999999999999ap-2
#define SG_POW_1 0x1.2492492492492p-2
#define SG_POW_2 0x1.c71c71c71c595p-3
#define SG_POW_3 0x1.745d17461a48fp-3
#define SG_POW_4 0x1.3b13b0d0c407ap-3
#define SG_POW_5 0x1.111165447efe3p-3
#define SG_POW_6 0x1.e1981bfd32f15p-4
#define SG_POW_7 0x1.bfebf37e674b3p-4

/* 2 / 3 in parts, of 53 bits and the rest */
#define SG_THIRD_0 0x1.5555555555555p-1
#define SG_THIRD_1 0x1.5555555555555p-55

/* ln 1.5 in parts, of 53 bits and the rest */
#define SG_LOG_1_5_0 0x1.9f323ecbf984cp-2
#define SG_LOG_1_5_1 -0x1.a92e513217f5cp-59

/* ln 2 in parts, of 41, 53 bits and the rest */
#define SG_LN2_LONG_0 0x1.62e42fefa4000p-1
#define SG_LN2_LONG_1 -0x1.8432a1b0e2634p-43
#define SG_LN2_LONG_2 0x1.f97b57a079a19p-103

/* erf(x) / x - 1 in x^2, on 0.0 to 0.5625: off by 2^-56.16 */
#define SG_ERF_0  0x1.06eba8214db69p-3
#define SG_ERF_1  -0x1.812746b0379e7p-2
#define SG_ERF_2  0x1.ce2f21a042be1p-4
#define SG_ERF_3  -0x1.b82ce31288b15p-6
#define SG_ERF_4  0x1.565bcd0e69235p-8
#define SG_ERF_5  -0x1.c02db3ffcd5edp-11
#define SG_ERF_6  0x1.f9a326ddab89bp-14
#define SG_ERF_7  -0x1.f4d257aadcd6fp-17
#define SG_ERF_8  0x1.b9e646f15d720p-20
#define SG_ERF_9  -0x1.5f6a1cb9cac3bp-23
#define SG_ERF_10 0x1.fbb883616d4a1p-27
#define SG_ERF_11 -0x1.48b588d516d45p-30
#define SG_ERF_12 0x1.3fda42ac13d26p-34

/* erf 1 in parts, of 53 bits and the rest */
#define SG_ERF_OF_1_0 0x1.af767a741088bp-1
#define SG_ERF_OF_1_1 -0x1.c97f778122797p-56

/* (erf(1 + d) - erf(1)) / d, on -0.25 to 0.25: off by 2^-57.57 */
#define SG_ERF_1_0  0x1.a911f096fbc26p-2
#define SG_ERF_1_1  -0x1.a911f096fbc26p-2
#define SG_ERF_1_2  0x1.1b614b0f5281ap-3
#define SG_ERF_1_3  0x1.1b614b0f52819p-4
#define SG_ERF_1_4  -0x1.1b614b0f5293cp-4
#define SG_ERF_1_5  0x1.2e45a565ad2bcp-8
#define SG_ERF_1_6  0x1.f096fd7077cb0p-7
#define SG_ERF_1_7  -0x1.391146bb82787p-8
#define SG_ERF_1_8  -0x1.ee30da24fc2b4p-10
#define SG_ERF_1_9  0x1.4176c4220f241p-10
#define SG_ERF_1_10 0x1.66b7e14a5a376p-14
#define SG_ERF_1_11 -0x1.a38bb36379cb4p-13
#define SG_ERF_1_12 0x1.39a8d4f3647ecp-16
#define SG_ERF_1_13 0x1.8dafc99d1ff33p-16
#define SG_ERF_1_14 -0x1.61a250c7ae0cbp-18
#define SG_ERF_1_15 -0x1.132fc5471624cp-19

/* e^(x^2) erfc(x) in (x - 2.5) / (x + 2.5), x from 1.25 to 6, on -0.333333 to 0.411765: off by 2^-57.55 */
#define SG_ERFC_0  0x1.afbb3f3b7343bp-3
#define SG_ERFC_1  -0x1.7ca88dec217a7p-2
#define SG_ERFC_2  0x1.01c11a735ce07p-2
#define SG_ERFC_3  -0x1.0011543716baep-3
#define SG_ERFC_4  0x1.470ba1f661848p-5
#define SG_ERFC_5  -0x1.05bb2fe65e168p-8
#define SG_ERFC_6  -0x1.5a571671913dcp-9
#define SG_ERFC_7  0x1.cb3b6247ddd7dp-11
#define SG_ERFC_8  0x1.def23a9074450p-13
#define SG_ERFC_9  -0x1.0e467a948009ap-13
#define SG_ERFC_10 -0x1.1ea0a9a59bfcfp-15
#define SG_ERFC_11 0x1.38472d077087bp-16
#define SG_ERFC_12 0x1.f47c4031f4ae3p-18
#define SG_ERFC_13 -0x1.315d8cf800d68p-19
#define SG_ERFC_14 -0x1.8ef0cf790a1d6p-20

/* 2 / pi: the first 1280 bits behind the point, 32 to a word */
#define SG_TWO_OVER_PI_WORDS 40
#define SG_TWO_OVER_PI_BITS                                                                                            \
    0xA2F9836Eu, 0x4E441529u, 0xFC2757D1u, 0xF534DDC0u, 0xDB629599u, 0x3C439041u, 0xFE5163ABu, 0xDEBBC561u,            \
        0xB7246E3Au, 0x424DD2E0u, 0x06492EEAu, 0x09D1921Cu, 0xFE1DEB1Cu, 0xB129A73Eu, 0xE88235F5u, 0x2EBB4484u,        \
        0xE99C7026u, 0xB45F7E41u, 0x3991D639u, 0x835339F4u, 0x9C845F8Bu, 0xBDF9283Bu, 0x1FF897FFu, 0xDE05980Fu,        \
        0xEF2F118Bu, 0x5A0A6D1Fu, 0x6D367ECFu, 0x27CB09B7u, 0x4F463F66u, 0x9E5FEA2Du, 0x7527BAC7u, 0xEBE5F17Bu,        \
        0x3D0739F7u, 0x8A5292EAu, 0x6BFB5FB1u, 0x1F8D5D08u, 0x56033046u, 0xFC7B6BABu, 0xF0CFBC20u, 0x9AF4361Du

#endif
